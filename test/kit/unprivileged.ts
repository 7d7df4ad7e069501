/** What a user without privileges would meet: root, which CI is, may read and write every file. */

/** `nobody` of Debian and of most systems. */
const NOBODY = 65_534;

/** Runs `act` as a user that may do nothing in particular; as whoever runs the tests when that is not root. */
export async function unprivileged<T>(act: () => T | Promise<T>): Promise<T> {
  if (process.geteuid?.() !== 0) return act();
  process.seteuid!(NOBODY);
  try {
    return await act();
  } finally {
    process.seteuid!(0);
  }
}
