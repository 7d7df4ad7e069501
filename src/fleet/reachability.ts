/** Says once that something cannot be reached, and once that it can again: nobody else would notice under `on_failure: open`. */

/** Takes one sentence for the log. */
export type Report = (sentence: string) => void;

/** What is known of one peer. */
export class Reachability {
  readonly #name: string;
  readonly #report: Report;
  #away = false;

  /** @param name key of the policy file that names the peer */
  constructor(name: string, report: Report) {
    this.#name = name;
    this.#report = report;
  }

  /** It did not do what it was asked, because of `why`, which holds no secret. */
  failed(why: string): void {
    if (this.#away) return;
    this.#away = true;
    this.#report(`${this.#name} cannot be used: ${why}. fleet.on_failure decides until it can.`);
  }

  /** It did. */
  answered(): void {
    if (!this.#away) return;
    this.#away = false;
    this.#report(`${this.#name} answers again.`);
  }
}
