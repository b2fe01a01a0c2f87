/** A typed list of listeners; `on` returns the function that takes the listener off again. */
export class Listeners<Events extends object> {
  private readonly byName = new Map<keyof Events, Set<(payload: never) => void>>();

  on<Name extends keyof Events>(name: Name, listener: (payload: Events[Name]) => void): () => void {
    const listeners = this.byName.get(name) ?? new Set();
    this.byName.set(name, listeners.add(listener as (payload: never) => void));
    return () => listeners.delete(listener as (payload: never) => void);
  }

  emit<Name extends keyof Events>(name: Name, payload: Events[Name]): void {
    for (const listener of this.byName.get(name) ?? []) (listener as (payload: Events[Name]) => void)(payload);
  }
}
