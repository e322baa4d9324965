/** Types of figures.mjs, which is plain JavaScript because scripts run it without a compiler. */
export declare function quantile(values: readonly number[], q: number): number;
export declare function median(values: readonly number[]): number;
export declare function shown(value: number): string;
export declare function printFigures(figures: Readonly<Record<string, number>>): void;
export declare function environment(more?: Record<string, unknown>): Record<string, unknown>;
export declare function writeReport(file: string | undefined, report: object): void;
