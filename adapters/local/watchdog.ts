/**
 * Ends process groups whose emulator has died.
 *
 * Owns one small shell that reads, over a pipe, which groups live, and kills them when the pipe closes: however the emulator
 * ends, even by SIGKILL, no process is left behind, least of all a stopped one that nobody would see. It lives only while there
 * is something to watch.
 */
import { type ChildProcess, spawn } from "node:child_process";

const SCRIPT = `
groups=" "
while read -r word group; do
  case $word in
    watch) groups="$groups$group " ;;
    forget) groups="\${groups%% $group *} \${groups#* $group }" ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
`;

const watched = new Set<number>();
let shell: ChildProcess | undefined;

/** Watches over the process group `group` from now on. */
export function watchGroup(group: number): void {
  shell ??= startShell();
  watched.add(group);
  tell(`watch ${group}`);
}

/** Stops watching over `group`: it is gone. */
export function forgetGroup(group: number): void {
  watched.delete(group);
  tell(`forget ${group}`);
  if (watched.size > 0) return;
  shell?.stdin?.end();
  shell = undefined;
}

function tell(line: string): void {
  shell?.stdin?.write(`${line}\n`);
}

function startShell(): ChildProcess {
  // A session of its own, so that a Ctrl-C at the terminal does not end it before the emulator.
  const child = spawn("/bin/sh", ["-c", SCRIPT], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
    env: {},
    cwd: "/",
  });
  // Without a shell there is no watchdog; the emulator works all the same.
  child.on("error", () => {});
  child.stdin.on("error", () => {});
  child.unref();
  (child.stdin as unknown as { unref(): void }).unref();
  return child;
}
