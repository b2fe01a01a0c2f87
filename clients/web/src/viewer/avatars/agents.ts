/** Who walks: the profiles that the scene's server has a NavMesh for. */

import { make } from "../../page/dom.js";
import type { Agent, MapQueries } from "../../sdk/queries.js";

/** Until the server has told: its own default. */
const TYPICAL: Agent = { name: "human", radiusM: 0.25, heightM: 1.7, maxClimbM: 0.25, maxSlopeDeg: 45 };

export class AgentChoice {
  chosen: Agent = TYPICAL;
  private agents: readonly Agent[] = [];

  constructor(
    private readonly host: HTMLElement,
    private readonly select: HTMLSelectElement,
    private readonly queries: MapQueries,
    private readonly onChosen: (agent: Agent) => void,
  ) {
    select.onchange = () => this.choose(select.value);
  }

  /** Ask who walks on a scene; the first one is chosen. */
  async load(scene: string): Promise<void> {
    try {
      this.agents = await this.queries.agents(scene);
    } catch {
      return; // the connection's own banner says what is wrong
    }
    this.select.replaceChildren(...this.agents.map(optionOf));
    this.host.hidden = this.agents.length < 2;
    this.choose(this.agents[0]?.name ?? TYPICAL.name);
  }

  private choose(name: string): void {
    this.chosen = this.agents.find((agent) => agent.name === name) ?? TYPICAL;
    this.onChosen(this.chosen);
  }
}

function optionOf({ name, radiusM, heightM }: Agent): HTMLOptionElement {
  const option = make("option", "", name);
  option.value = name;
  option.title = `${heightM} tall, ${2 * radiusM} wide`;
  return option;
}
