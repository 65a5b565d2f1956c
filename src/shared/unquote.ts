// A folder's path as it was meant: without the quotes and blanks that a shell, or pasting, left around it.
// Invariant: a path without them stays as it is.
// Never: looks at the disk.

/**
 * CMD.EXE quotes a folder that is dragged into its window, other shells with ', and a blank is pasted along. Of
 * `"c:\temp\"` Windows takes the last quote as a part of the path.
 */
export const unquote = (text: string): string =>
  text
    .trim()
    .replace(/^(["'])(.*)\1$/s, "$2")
    .replace(/"$/, "")
    .trim();
