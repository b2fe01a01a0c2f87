import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Thing, type Things } from "../src/viewer/things/things.js";
import { ThingList } from "../src/viewer/things/list.js";
import type { Workshop } from "../src/viewer/things/workshop.js";

/** As much of a page's element as a row needs. */
class Element {
  readonly children: Element[] = [];
  readonly dataset: Record<string, string> = {};
  readonly attributes: Record<string, string> = {};
  textContent = "";
  value: string | number = "";
  hidden = false;
  disabled = false;
  onkeydown: (event: object) => void = () => undefined;

  constructor(readonly tag: string) {}

  append(...more: Element[]): void {
    this.children.push(...more);
  }

  setAttribute(name: string, value: string): void {
    this.attributes[name] = value;
  }

  of(tag: string): Element[] {
    return this.children.flatMap((child) => [...(child.tag === tag ? [child] : []), ...child.of(tag)]);
  }
}

const JOB = { job: "j", asset: "a", state: "running", isOver: false, progress: 0.4, stage: "fuse", etaS: null, yieldedMs: 0, failure: null } as const;
const VIEW = { slot: "a", scene: "main", rev: 2, current: { asset: "mug", version: 3 }, kept: [{ asset: "mug", version: 2 }], placement: null };

function thing(slot: string, more: Partial<Thing> = {}): Thing {
  return { slot, view: VIEW, job: null, isBusy: false, trouble: "", unshown: "", binding: null, ...more } as Thing;
}

describe("ThingList", () => {
  beforeEach(() => void vi.stubGlobal("document", { createElement: (tag: string) => new Element(tag) }));
  afterEach(() => void vi.unstubAllGlobals());
  const swap = vi.fn();

  function shown(all: readonly Thing[], mayMake = true): Element {
    const host = new Element("div");
    new ThingList(host as unknown as HTMLElement, { all } as Things, { swap } as unknown as Workshop, mayMake).update();
    return host;
  }

  it("offers nothing to those who may only look", () => {
    const host = shown([thing("a")], false);
    expect([host.of("input"), host.of("button")]).toEqual([[], []]);
    expect(host.of("span")[0]?.textContent).toBe("stands there, version 3");
    expect(shown([thing("a")]).of("button")).toHaveLength(2);
  });

  it("does one thing at a time, but takes it away at any", () => {
    const [input, back, remove] = ["input", "button"].flatMap((tag) => shown([thing("a", { isBusy: true, job: JOB })]).of(tag));
    expect([input?.disabled, back?.disabled, remove?.disabled]).toEqual([true, true, false]);
    expect(shown([thing("a")]).of("button")[0]?.disabled).toBe(false);
  });

  it("names everything, in each row otherwise", () => {
    const host = shown([thing("a"), thing("b")]);
    const names = ["progress", "input", "button"].flatMap((tag) => host.of(tag)).map(({ attributes }) => attributes["aria-label"]);
    expect(names).toHaveLength(8);
    expect(new Set(names).size).toBe(8);
    expect(names).not.toContain(undefined);
  });

  it("says that a model cannot be shown", () => {
    const [row] = shown([thing("a", { unshown: "there are no triangles in it" })]).children;
    expect(row?.of("span")[0]?.textContent).toBe("cannot be shown here: there are no triangles in it");
    expect(row?.dataset["state"]).toBe("trouble");
  });

  it("takes an Enter that ends a composition for no wish", () => {
    const [input] = shown([thing("a")]).of("input") as [Element];
    input.value = "赤い椅子";
    input.onkeydown({ key: "Enter", isComposing: true });
    expect(swap).not.toHaveBeenCalled();
    input.onkeydown({ key: "Enter", isComposing: false });
    expect(swap).toHaveBeenCalledOnce();
  });
});
