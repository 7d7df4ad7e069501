/**
 * Collects telemetry events and hands them to every subscriber in batches.
 *
 * Owns buffering, retry, the bound on what waits and `platform.logsDropped`. Everything stands still while the sandbox is frozen,
 * because the listeners do. Sources: "Accessing real-time telemetry data for extensions using the Telemetry API" of the AWS
 * Lambda Developer Guide.
 */
import type { Budget, Budgets } from "./budget.ts";
import { createSink, type Sink } from "./telemetry-delivery.ts";
import type { Subscription, TelemetryCategory } from "./telemetry-subscription.ts";

/** Attempts at one batch, the first included. */
const ATTEMPTS_MAX = 4;
/** Wait before the second attempt; doubles each time. */
const BACKOFF_MS = 50;
/** How long a listener may take over one batch. */
const DELIVERY_MS_MAX = 2_000;
/** Batches that wait for the one that is being delivered; the next is dropped and counted. */
const WAITING_BATCHES_MAX = 8;
/** Events of the init phase kept for extensions that subscribe after them; beyond it the oldest are forgotten. */
const INIT_EVENTS_MAX = 10_000;

interface TelemetryEvent {
  readonly category: TelemetryCategory;
  readonly time: string;
  readonly type: string;
  readonly record: unknown;
}

interface Batch {
  readonly events: string[];
  bytes: number;
}

/** Everything that one generation of the sandbox emits. */
export class TelemetryRelay {
  readonly #budgets: Budgets;
  readonly #subscribers = new Map<string, Subscriber>();
  #initEvents: TelemetryEvent[] | undefined = [];

  constructor(budgets: Budgets) {
    this.#budgets = budgets;
  }

  /** Begins anew, with no subscriber: the sandbox starts. */
  open(): void {
    this.close();
    this.#initEvents = [];
  }

  /** Adds or replaces the subscription of `name`, which first gets what happened before. */
  subscribe(name: string, subscription: Subscription): void {
    this.#subscribers.get(name)?.close();
    const subscriber = new Subscriber(subscription, this.#budgets);
    this.#subscribers.set(name, subscriber);
    for (const event of this.#initEvents ?? []) subscriber.take(event);
  }

  /** The init phase is over: nobody can subscribe any more, so nothing is kept for them. */
  initDone(): void {
    this.#initEvents = undefined;
  }

  /** Emits an event. `wallMs` is epoch time. */
  emit(category: TelemetryCategory, type: string, record: unknown, wallMs: number): void {
    const event = { category, time: new Date(wallMs).toISOString(), type, record };
    if (this.#initEvents !== undefined) {
      if (this.#initEvents.length >= INIT_EVENTS_MAX) this.#initEvents.shift();
      this.#initEvents.push(event);
    }
    for (const subscriber of this.#subscribers.values()) subscriber.take(event);
  }

  /** Sends what is buffered without waiting for the buffers' time: the environment is about to end. */
  flush(): void {
    for (const subscriber of this.#subscribers.values()) subscriber.flush();
  }

  /** Forgets every subscriber and what it has not got. */
  close(): void {
    for (const subscriber of this.#subscribers.values()) subscriber.close();
    this.#subscribers.clear();
  }
}

class Subscriber {
  readonly #subscription: Subscription;
  readonly #budgets: Budgets;
  readonly #sink: Sink;
  readonly #waiting: Batch[] = [];
  #filling: Batch = emptyBatch();
  #timer: Budget | undefined;
  #delivering = false;
  #dropped = { bytes: 0, records: 0, reason: "" };
  readonly #closed = new AbortController();

  constructor(subscription: Subscription, budgets: Budgets) {
    this.#subscription = subscription;
    this.#budgets = budgets;
    this.#sink = createSink(subscription.destination);
  }

  /** Buffers an event if it is of a subscribed category. */
  take(event: TelemetryEvent): void {
    const { categories, maxItems, maxBytes } = this.#subscription;
    if (!categories.has(event.category)) return;
    const text = this.#spell(event);
    this.#filling.events.push(text);
    this.#filling.bytes += Buffer.byteLength(text);
    if (this.#filling.events.length >= maxItems || this.#filling.bytes >= maxBytes) this.flush();
    else this.#startTimer();
  }

  /** Hands the buffered events over for delivery. */
  flush(): void {
    this.#stopTimer();
    if (this.#filling.events.length === 0) return;
    const batch = this.#filling;
    this.#filling = emptyBatch();
    if (this.#waiting.length >= WAITING_BATCHES_MAX)
      this.#drop(batch, "the listener is slower than the events come");
    else this.#waiting.push(batch);
    if (!this.#delivering) void this.#deliverAll();
  }

  close(): void {
    this.#stopTimer();
    this.#closed.abort();
    this.#sink.close();
  }

  /** Logs are strings up to schema 2022-07-01, and objects afterwards when the function logs JSON. */
  #spell({ time, type, record, category }: TelemetryEvent): string {
    const asText =
      category !== "platform" &&
      typeof record !== "string" &&
      this.#subscription.schemaVersion < "2022-12-13";
    return JSON.stringify({ time, type, record: asText ? JSON.stringify(record) : record });
  }

  #startTimer(): void {
    if (this.#timer !== undefined) return;
    const timer = this.#budgets.begin(this.#subscription.timeoutMs);
    this.#timer = timer;
    void timer.expired.then(() => this.flush());
  }

  #stopTimer(): void {
    if (this.#timer !== undefined) this.#budgets.end(this.#timer);
    this.#timer = undefined;
  }

  async #deliverAll(): Promise<void> {
    this.#delivering = true;
    for (let batch = this.#waiting.shift(); batch !== undefined; batch = this.#waiting.shift()) {
      const problem = await this.#deliver(batch);
      if (this.#closed.signal.aborted) break;
      if (problem !== undefined) this.#drop(batch, problem);
    }
    this.#delivering = false;
  }

  /** Tries until the listener takes the batch, and with it the note of what was dropped before. Returns why it did not. */
  async #deliver(batch: Batch): Promise<string | undefined> {
    const note = this.#droppedNote();
    let problem = "";
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      if (attempt > 1) await this.#budgets.sleep(BACKOFF_MS * 2 ** (attempt - 2));
      if (this.#closed.signal.aborted) return "the environment ended";
      const budget = this.#budgets.begin(DELIVERY_MS_MAX);
      const tooLate = new AbortController();
      void budget.expired.then(() => tooLate.abort());
      try {
        const signal = AbortSignal.any([tooLate.signal, this.#closed.signal]);
        await this.#sink.deliver([...note, ...batch.events], signal);
        if (note.length > 0) this.#dropped = { bytes: 0, records: 0, reason: "" };
        return undefined;
      } catch (error) {
        problem = (error as Error).message;
      } finally {
        this.#budgets.end(budget);
      }
    }
    return problem;
  }

  #drop(batch: Batch, reason: string): void {
    this.#dropped.records += batch.events.length;
    this.#dropped.bytes += batch.bytes;
    this.#dropped.reason = reason;
  }

  /** The event that tells what was dropped, if anything was and the listener wants to know. */
  #droppedNote(): string[] {
    const { bytes, records, reason } = this.#dropped;
    if (records === 0 || !this.#subscription.categories.has("platform")) return [];
    const record = { droppedBytes: bytes, droppedRecords: records, reason };
    return [JSON.stringify({ time: new Date().toISOString(), type: "platform.logsDropped", record })];
  }
}

function emptyBatch(): Batch {
  return { events: [], bytes: 0 };
}
