/**
 * The list as a fold of its changes. Every device folds the same records in the edge's order, so all lists become
 * equal; own changes that are not at the edge yet are folded on top.
 */
export type Change =
  | { readonly type: "added"; readonly item: string; readonly text: string }
  | { readonly type: "checked"; readonly item: string; readonly done: boolean }
  | { readonly type: "removed"; readonly item: string };

export interface Item {
  readonly text: string;
  readonly done: boolean;
}

/** By the item's id, in the order in which items were added. */
export type List = Readonly<Record<string, Item>>;

export const EMPTY: List = {};

/** Pure: a new list, or the same object where nothing changes. */
export function apply(list: List, change: Change): List {
  const { item } = change;
  const known = list[item];
  switch (change.type) {
    case "added":
      return known ? list : { ...list, [item]: { text: change.text, done: false } };
    case "checked":
      // Somebody else removed it meanwhile: a removal wins.
      return !known || known.done === change.done ? list : { ...list, [item]: { ...known, done: change.done } };
    case "removed": {
      if (!known) return list;
      const { [item]: _, ...rest } = list;
      return rest;
    }
  }
}
