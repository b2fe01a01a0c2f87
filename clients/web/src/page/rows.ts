/** Rows of a list that follow what they stand for: one for each thing there is, kept while it is. */

export class Rows<K, R extends { readonly root: HTMLElement }> {
  private readonly byKey = new Map<K, R>();

  constructor(
    private readonly host: HTMLElement,
    private readonly make: (key: K) => R,
  ) {}

  /** Have a row for each of these, and for nothing else. */
  follow(keys: readonly K[]): (readonly [K, R])[] {
    const present = new Set(keys);
    for (const [key, { root }] of this.byKey) {
      if (present.has(key)) continue;
      root.remove();
      this.byKey.delete(key);
    }
    return keys.map((key) => [key, this.byKey.get(key) ?? this.add(key)] as const);
  }

  get(key: K): R | undefined {
    return this.byKey.get(key);
  }

  private add(key: K): R {
    const row = this.make(key);
    this.host.append(row.root);
    this.byKey.set(key, row);
    return row;
  }
}
