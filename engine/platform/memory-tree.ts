/**
 * The directories of a simulated disk, apart from what is in its files.
 *
 * Model: each directory is a table of names, durable by itself. A creation, a removal and a rename within one
 * directory are one entry change each (a rename sets both names at once, so it is atomic: old or new). A rename
 * from one directory to another is two changes, one in each, and each becomes durable with its own directory:
 * after a crash the file may be under both names or under neither.
 *
 * `syncDirectory` makes the changes of that one directory durable. A power cut keeps any of the others, each by
 * itself but applied in their order (`'any'`, as a file system without a journal may), or those before some
 * moment (`'prefix'`, as one with a journal does). A kept entry says nothing about the bytes of its file, and
 * syncing a file does not make its entry durable.
 *
 * SQLite databases stand here as whole values: SQLite does its own syncing. A crash leaves the last saved
 * content, the one before it, or none at all.
 */
import type Database from 'better-sqlite3';
import type { Chooser } from './chooser.js';
import { type CrashOptions, FileContent } from './memory-content.js';

export type Node = FileNode | Directory;

export class FileNode {
  readonly kind = 'file';
  content: FileContent;
  sqlite: SqliteState | undefined;

  constructor(content: FileContent = new FileContent()) {
    this.content = content;
  }
}

interface SqliteState {
  /** Saved before what `content` holds now, if ever. */
  older: Uint8Array | undefined;
  readonly open: Set<Database.Database>;
}

interface EntryChange {
  readonly stamp: number;
  readonly sets: readonly (readonly [name: string, node: Node | undefined])[];
  limbo: boolean;
}

type Entries = Map<string, Node>;

export class Directory {
  readonly kind = 'directory';
  #durable: Entries = new Map();
  #current: Entries = new Map();
  #changes: EntryChange[] = [];
  #stamp = 0;

  get stamp(): number {
    return this.#stamp;
  }

  /** Entry changes that a crash now would have to decide about. */
  get pending(): number {
    return this.#changes.length;
  }

  get(name: string): Node | undefined {
    return this.#current.get(name);
  }

  names(): string[] {
    return [...this.#current.keys()].sort();
  }

  /** One atomic change of one or two names. */
  set(...sets: EntryChange['sets']): void {
    apply(this.#current, sets);
    this.#changes.push({ stamp: ++this.#stamp, sets, limbo: false });
  }

  /** An entry that is durable from the start, whatever was pending for its name. */
  setDurable(name: string, node: Node): void {
    if (this.#changes.length > 0) {
      this.#changes = this.#changes.map((change) => ({ ...change, sets: change.sets.filter(([other]) => other !== name) }));
    }
    this.#current.set(name, node);
    this.#durable.set(name, node);
  }

  sync(stamp: number): void {
    const left: EntryChange[] = [];
    const settled = new Set<string>();
    for (const change of this.#changes) {
      if (change.stamp > stamp || change.limbo) left.push(change);
      else {
        apply(this.#durable, change.sets);
        for (const [name] of change.sets) settled.add(name);
      }
    }
    // What became of a name in limbo no longer matters once a later change of it is durable.
    this.#changes = left.map((change) => (change.limbo ? { ...change, sets: change.sets.filter(([name]) => !settled.has(name)) } : change));
  }

  failSync(stamp: number, keeps: 'none' | 'some'): void {
    if (keeps === 'none') this.#changes = this.#changes.filter((change) => change.stamp > stamp || change.limbo);
    else for (const change of this.#changes) if (change.stamp <= stamp) change.limbo = true;
  }

  /** The same directory on a machine of its own. `copies` maps what has been copied already. */
  clone(copies: Map<Node, Node>): Directory {
    const copy = new Directory();
    copies.set(this, copy);
    copy.#durable = cloneEntries(this.#durable, copies);
    copy.#current = cloneEntries(this.#current, copies);
    copy.#changes = this.#changes.map((change) => ({
      ...change,
      sets: change.sets.map(([name, node]) => [name, node && cloneNode(node, copies)] as const),
    }));
    copy.#stamp = this.#stamp;
    return copy;
  }

  /** What a power cut now leaves of the directory and everything below it. */
  crash(chooser: Chooser, options: CrashOptions, copies: Map<Node, Node> = new Map()): Directory {
    const left: Entries = new Map(this.#durable);
    if (options.directories === 'prefix') {
      const kept = chooser.next(this.#changes.length + 1);
      for (const change of this.#changes.slice(0, kept)) apply(left, change.sets);
    } else {
      for (const change of this.#changes) if (chooser.next(2) === 1) apply(left, change.sets);
    }
    const copy = new Directory();
    copies.set(this, copy);
    for (const name of [...left.keys()].sort()) {
      const node = left.get(name) as Node;
      const crashed = copies.get(node) ?? crashNode(node, chooser, options, copies);
      if (crashed !== undefined) copy.setDurable(name, crashed);
    }
    return copy;
  }
}

function apply(entries: Entries, sets: EntryChange['sets']): void {
  for (const [name, node] of sets) {
    if (node === undefined) entries.delete(name);
    else entries.set(name, node);
  }
}

function cloneEntries(entries: Entries, copies: Map<Node, Node>): Entries {
  return new Map([...entries].map(([name, node]) => [name, cloneNode(node, copies)]));
}

function cloneNode(node: Node, copies: Map<Node, Node>): Node {
  const known = copies.get(node);
  if (known !== undefined) return known;
  if (node.kind === 'directory') return node.clone(copies);
  saveSqlite(node);
  const copy = new FileNode(node.content.clone());
  if (node.sqlite !== undefined) copy.sqlite = { older: node.sqlite.older, open: new Set() };
  copies.set(node, copy);
  return copy;
}

function crashNode(node: Node, chooser: Chooser, options: CrashOptions, copies: Map<Node, Node>): Node | undefined {
  if (node.kind === 'directory') return node.crash(chooser, options, copies);
  const crashed = node.sqlite === undefined ? new FileNode(node.content.crash(chooser, options)) : crashSqlite(node, node.sqlite, chooser);
  if (crashed !== undefined) copies.set(node, crashed);
  return crashed;
}

function crashSqlite(node: FileNode, state: SqliteState, chooser: Chooser): FileNode | undefined {
  saveSqlite(node);
  const saved = [undefined, ...(state.older === undefined ? [] : [state.older]), node.content.bytes()];
  const bytes = saved[chooser.next(saved.length)];
  if (bytes === undefined) return undefined;
  const left = new FileNode(FileContent.of(bytes));
  left.sqlite = { older: undefined, open: new Set() };
  return left;
}

/** Takes over what the open connections of a database have committed. */
export function saveSqlite(node: FileNode): void {
  const state = node.sqlite;
  if (state === undefined) return;
  for (const database of state.open) {
    // What a transaction under way has written so far is not to be seen by anybody else.
    if (!database.open || database.inTransaction) continue;
    const bytes = database.serialize();
    const before = node.content.bytes();
    if (bytes.equals(before)) continue;
    if (before.length > 0) state.older = before;
    node.content = FileContent.of(bytes);
  }
}
