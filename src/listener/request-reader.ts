/**
 * The reading side of a connection from the application: bytes → requests, their bodies, and what is spoken in a tunnel that was
 * promised. Decides where a message begins and ends; what happens with it, and what is answered, is the connection's.
 */
import type { Socket } from "node:net";
import { Body, EMPTY_BODY } from "../body.ts";
import { readClientHello } from "../capture/client-hello.ts";
import { isPreface } from "../capture/first-bytes.ts";
import { captureRequest } from "../capture/request.ts";
import { METHOD_CHOSEN, readGreeting, readSocksRequest, SOCKS4, SOCKS5 } from "../capture/socks.ts";
import { type ListenerRole, parseAuthority, type Target, targetOf } from "../capture/target.ts";
import { EgressError } from "../errors.ts";
import type { EgressRequest } from "../exchange.ts";
import type { RequestHead } from "../http1/request-head.ts";
import type { ConnectionContext, NextProtocol } from "./context.ts";
import { IncomingBody } from "./incoming-body.ts";
import { mayBePlain, Opening } from "./opening.ts";
import { readHead } from "./read-head.ts";
import { connectTo, insideOf } from "./tunnel-request.ts";

/** Who is told what has been read. */
export interface RequestTaker {
  /** A request has begun; the bytes of its body that are here will be in it when it is to be sent. */
  begin(head: RequestHead, request: EgressRequest): void;
  /** The request that has begun can go on its way. */
  send(request: EgressRequest): void;
  /** What came is no request, and what follows it cannot be trusted to be one. `reply` says so in a protocol of its own. */
  refuse(error: EgressError, reply?: Buffer): void;
  /** The application speaks SOCKS: it is told the method that was chosen, and from now on all else in that protocol. */
  greetSocks(chosen: Buffer): void;
  /** The next request is a tunnel that the application believes to have already. */
  expectTunnel(): void;
  /** A tunnel was asked for, and has to be promised before it is known what it will hold. */
  promiseTunnel(): void;
  /** What the promised tunnel holds are requests: the next one is read. */
  awaitHead(): void;
  /** What comes is no HTTP/1.1; `bytes` are the first of it. */
  handOver(next: NextProtocol, bytes: Buffer): void;
  /** The body of the request under way will not come to its end (`error`), or nobody wants it to (`null`): no request can follow. */
  spoil(error: EgressError | null): void;
}

/** A body that is here with its head and no longer than this is handed on whole instead of streamed. */
const WHOLE_BODY_BYTES_MAX = 16 * 1024;
const NOTHING = Buffer.alloc(0);
/** What begins with a control character is no HTTP: SOCKS, TLS, or an empty line before a request. */
const BLANK = 0x20;
const HANDSHAKE = 0x16;
/** The scheme's own port, where the system redirected TLS to us and nothing says another. */
const TLS_PORT = 443;

/** See the file's header. One per connection; its bytes are only lent, so that what is kept is copied. */
export class RequestReader {
  readonly #socket: Socket;
  readonly #context: ConnectionContext;
  readonly #taker: RequestTaker;
  #role: ListenerRole;
  /** Bytes that have arrived and are not understood yet. Bounded: reading stops while a request is served. */
  #pending: Buffer | null = null;
  /** The body of the request under way, while it is still coming. */
  #incoming: IncomingBody | null = null;
  /** A tunnel that has been promised. */
  #opening: Opening | null = null;
  /** A request has come. */
  #requested = false;
  /** The SOCKS dialogue has begun, and its request is to come. */
  #greeted = false;
  /** The bytes that are being read are only lent, and have to be copied to be kept. */
  #lent = false;
  /** The application has ended its side. */
  #ended = false;

  constructor(socket: Socket, role: ListenerRole, context: ConnectionContext, taker: RequestTaker) {
    this.#socket = socket;
    this.#role = role;
    this.#context = context;
    this.#taker = taker;
  }

  /** Bytes are here that are no request yet. */
  get begun(): boolean {
    return this.#pending !== null;
  }

  /** The rest of a body is the application's to send. */
  get owesBody(): boolean {
    return this.#incoming !== null && !this.#incoming.awaitsContinue;
  }

  /** Bytes that are kept. */
  get pendingBytes(): number {
    return this.#pending === null ? 0 : this.#pending.length;
  }

  /** No request can come any more. */
  get exhausted(): boolean {
    return this.#ended && this.#pending === null;
  }

  /** Bytes between two requests, or in a tunnel that is being opened. */
  read(bytes: Buffer): void {
    const all = this.#joined(bytes);
    this.#lent = all === bytes;
    if (this.#opening === null) this.#readHead(all);
    else this.#lookInside(all);
  }

  /** Bytes during an exchange: its body, or what comes too early and has to wait. */
  readDuringExchange(bytes: Buffer): void {
    this.#lent = this.#pending === null;
    if (this.#incoming !== null) return this.#feed(this.#incoming, bytes, 0);
    this.#keep(this.#joined(bytes));
    this.#socket.pause();
  }

  /** The exchange is over: goes on with what has come meanwhile. */
  next(): void {
    this.#lent = false;
    if (this.#pending !== null) this.#readHead(this.#pending);
  }

  /** The application has ended its side, between two requests or during an exchange. */
  end(): void {
    this.#ended = true;
    this.breakOff(new EgressError("CLIENT_GONE", "ended inside the request body"));
  }

  /** The body that is coming, if any, will not come to its end: whoever sends it on is told why. */
  breakOff(error: EgressError): void {
    const incoming = this.#incoming;
    if (incoming === null) return;
    this.#incoming = null;
    incoming.body.fail(error);
    this.#taker.spoil(error);
  }

  /** A 100 has been passed on: now the application owes its body. */
  continued(): void {
    if (this.#incoming !== null) this.#incoming.awaitsContinue = false;
  }

  /** Gives away what came behind the request that became a tunnel, or `null`. */
  takeEarly(): Buffer | null {
    const early = this.#pending;
    this.#pending = null;
    return early;
  }

  /**
   * The application says no more for now, or has ended its side, in a tunnel that was promised: it may listen all the same. Where the
   * policy looks inside TLS, nothing is dialled for bytes that could still become anything.
   */
  endOpening(): void {
    if (this.#opening!.opened) this.#taker.refuse(new EgressError("BAD_TARGET", "no TLS in the tunnel"));
    else this.#dialTunnel();
  }

  #dialTunnel(): void {
    const { head, target } = this.#opening!;
    this.#opening!.cancel();
    this.#opening = null;
    this.#begin(head, target, this.takeEarly() ?? NOTHING, 0);
  }

  /** Nothing is read any more. */
  stop(): void {
    this.#opening?.cancel();
    this.#incoming = null;
    this.#pending = null;
  }

  #readHead(bytes: Buffer): void {
    if (bytes[0]! < BLANK && this.#readOther(bytes)) return;
    const read = readHead(bytes, this.#context.limits);
    if (read === null) return this.#beginHead(bytes);
    if (read instanceof EgressError) return this.#refuseHead(read, bytes);
    const target = targetOf(read.head, this.#role);
    if (target instanceof EgressError) return this.#taker.refuse(target);
    if (read.head.method === "CONNECT") this.#connect(read.head, target, bytes, read.next);
    else this.#begin(read.head, target, bytes, read.next);
  }

  /** What is no head may be HTTP/2 with prior knowledge, which begins a connection and never comes behind a request. */
  #refuseHead(error: EgressError, bytes: Buffer): void {
    if (!this.#requested && isPreface(bytes)) this.#taker.handOver({ kind: "h2", role: this.#role }, bytes);
    else this.#taker.refuse(error);
  }

  /** What is not HTTP from its first byte on. Returns whether it was. */
  #readOther(bytes: Buffer): boolean {
    const first = bytes[0];
    const { kind } = this.#role;
    if (kind === "proxy" && (this.#greeted || first === SOCKS5 || first === SOCKS4)) this.#readSocks(bytes);
    else if (kind === "transparent" && first === HANDSHAKE) this.#readHello(bytes);
    else return false;
    return true;
  }

  #readSocks(bytes: Buffer): void {
    if (!this.#greeted) {
      const greeting = readGreeting(bytes);
      if (greeting.kind === "partial") return this.#keep(bytes);
      if (greeting.kind === "refused") return this.#taker.refuse(greeting.error, greeting.reply);
      this.#greeted = true;
      this.#pending = null;
      this.#taker.greetSocks(METHOD_CHOSEN);
      if (greeting.next < bytes.length) this.#readSocks(bytes.subarray(greeting.next));
      return;
    }
    const request = readSocksRequest(bytes);
    if (request.kind === "partial") return this.#keep(bytes);
    if (request.kind === "refused") return this.#taker.refuse(request.error, request.reply);
    this.#greeted = false;
    const { host, port, next } = request;
    this.#connect(...connectTo(host, port), bytes, next);
  }

  /** TLS that the system redirected: the name in its first message is all that says where it was going. */
  #readHello(bytes: Buffer): void {
    const hello = readClientHello(bytes);
    if (hello.kind === "partial") return this.#keep(bytes);
    this.#taker.expectTunnel();
    if (hello.kind === "not_tls") return this.#taker.refuse(new EgressError("BAD_REQUEST", hello.why));
    const named = parseAuthority(hello.serverName, TLS_PORT);
    if (named instanceof EgressError) return this.#taker.refuse(named);
    const [head, target] = connectTo(named.host, named.port);
    if (this.#isOpened(target)) this.#secure(target, hello.serverName, bytes);
    else this.#begin(head, target, bytes, 0);
  }

  /** A tunnel is asked for: at once dialled, or first promised to see what it will hold. */
  #connect(head: RequestHead, target: Target, bytes: Buffer, next: number): void {
    const opened = this.#isOpened(target);
    if (opened || (mayBePlain(target) && this.#context.admits(target.host, target.port))) {
      this.#openTunnel(head, target, opened, bytes.subarray(next));
    } else this.#begin(head, target, bytes, next);
  }

  /** Whether TLS to `target` is opened. What the acl refuses is not: the refusal is told before a tunnel is promised. */
  #isOpened({ host, port }: Target): boolean {
    const { interception, admits } = this.#context;
    return interception?.covers(host, port) === true && admits(host, port);
  }

  /** `bytes` may become a head. An empty line, which some send behind a body (RFC 9112 §2.2), is no beginning of one. */
  #beginHead(bytes: Buffer): void {
    if (isEmptyLine(bytes)) this.#pending = null;
    else if (this.#ended) this.#taker.refuse(new EgressError("BAD_REQUEST", "ended inside a head"));
    else this.#keep(bytes);
  }

  /** A tunnel that may hold what is governed: promised at once, dialled when it is known that it does not. */
  #openTunnel(head: RequestHead, target: Target, opened: boolean, early: Buffer): void {
    this.#pending = null;
    const { clock, limits } = this.#context;
    this.#opening = new Opening(head, target, opened, limits.handshakeTimeoutMs, clock, () =>
      this.endOpening(),
    );
    this.#taker.promiseTunnel();
    if (early.length > 0) this.#lookInside(early);
  }

  #lookInside(bytes: Buffer): void {
    this.#keep(bytes);
    const { target } = this.#opening!;
    const verdict = this.#opening!.judge(bytes);
    switch (verdict.kind) {
      case "wait":
        return;
      case "dial":
        return this.#dialTunnel();
      case "refuse":
        return this.#taker.refuse(new EgressError("BAD_TARGET", verdict.why));
      case "tls":
        return this.#secure(target, verdict.serverName, bytes);
      case "h2":
        return this.#taker.handOver({ kind: "h2", role: insideOf(target, "http") }, bytes);
      case "http":
        this.#opening = null;
        this.#role = insideOf(target, "http");
        this.#taker.awaitHead();
        this.next();
    }
  }

  #secure(target: Target, serverName: string, bytes: Buffer): void {
    this.#taker.handOver({ kind: "tls", role: insideOf(target, "https"), serverName }, bytes);
  }

  #begin(head: RequestHead, target: Target, bytes: Buffer, bodyAt: number): void {
    const { clock, nextCallId } = this.#context;
    const { bodyLength } = head;
    const isHere = bodyLength !== null && bodyLength <= Math.min(WHOLE_BODY_BYTES_MAX, bytes.length - bodyAt);
    const next = isHere ? bodyAt + bodyLength : bodyAt;
    const body = !isHere
      ? this.#streamBody(head)
      : bodyLength === 0
        ? EMPTY_BODY
        : Body.of(bytes.latin1Slice(bodyAt, next));
    const request = captureRequest(head, target, this.#role, body, nextCallId(), clock.now());
    this.#pending = null;
    this.#requested = true;
    this.#taker.begin(head, request);
    if (this.#incoming !== null) this.#feed(this.#incoming, bytes, next);
    else if (next < bytes.length) this.#keep(bytes.subarray(next));
    if (this.#ended) this.end();
    this.#taker.send(request);
  }

  #streamBody({ bodyLength, expectContinue }: RequestHead): Body {
    this.#incoming = new IncomingBody({
      socket: this.#socket,
      length: bodyLength,
      trailerBytesMax: this.#context.limits.headBytesMax,
      awaitsContinue: expectContinue,
      unwanted: () => this.#taker.spoil(null),
    });
    return this.#incoming.body;
  }

  /** Feeds the request's body; what follows it is kept for the next request. */
  #feed(incoming: IncomingBody, bytes: Buffer, from: number): void {
    const end = incoming.feed(bytes, from);
    if (typeof end === "string") return this.breakOff(new EgressError("BAD_REQUEST", end));
    if (incoming.done) this.#incoming = null;
    if (end === bytes.length) return;
    this.#keep(bytes.subarray(end));
    this.#socket.pause();
  }

  #joined(bytes: Buffer): Buffer {
    return this.#pending === null ? bytes : Buffer.concat([this.#pending, bytes]);
  }

  /** Bytes for later. A pipeline is not copied again for each of its requests: that would be quadratic. */
  #keep(bytes: Buffer): void {
    this.#pending = this.#lent ? Buffer.from(bytes) : bytes;
  }
}

const CR = 13;
const LF = 10;

function isEmptyLine(bytes: Buffer): boolean {
  return bytes.length === 2 && bytes[0] === CR && bytes[1] === LF;
}
