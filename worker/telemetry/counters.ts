/**
 * What one log object has counted since it woke. prometheus.ts prints it; a scraper can handle counters that begin
 * again.
 */

export class Counters {
  requests = 0;
  appends = 0;
  appendBytes = 0;
  duplicates = 0;
  reads = 0;
  deliveredBytes = 0;
  commits = 0;
  seals = 0;
  archived = 0;
  archiveFailures = 0;
  rejections = 0;
  compactedRecords = 0;
  joins = 0;
  pushes = 0;
  pushConflicts = 0;
  claims = 0;

  push(bytes: number, duplicate: boolean, isClaim: boolean): void {
    this.append(bytes, duplicate);
    this.pushes++;
    if (isClaim) this.claims++;
  }

  append(bytes: number, duplicate: boolean): void {
    this.appends++;
    this.appendBytes += bytes;
    if (duplicate) this.duplicates++;
  }
}
