'use strict'

// The directory of one process below spool_dir, and the proof that the process is alive: a Unix socket in it that listens.
// The kernel refuses connections as soon as the process is gone, and at no other time; process ids lie across containers,
// and a stopped process would let any heartbeat run out.
//
//   <spool_dir>/.<id>/           being made: not looked at by others
//   <spool_dir>/<id>/            of process <id>
//   <spool_dir>/<claimer>~<id>/  of a process that died, claimed by another (claims.js)
//
// The directory is what is claimed, by one rename: never one file without those that come before it. Anything else below
// spool_dir is somebody else's, as Haraka's own queue is where the two share a directory: never touched.

const { lstat, mkdir, open, readdir, rename, rm, rmdir, stat } = require('node:fs/promises')
const net = require('node:net')
const path = require('node:path')

const { syncDirectory } = require('./directory')

const SOCKET = 'alive'
const MAX_SOCKET_PATH = 100
const ABANDONED_MS = 3_600_000
const BEING_MADE = /^\.[0-9a-f]{12}$/
const OURS = /^[0-9a-f]{12}(~[0-9a-f]{12})?$/

/** A path below `dir` that is short enough for a socket's address. */
async function withSocketPath(dir, use) {
  const plain = path.join(dir, SOCKET)
  if (Buffer.byteLength(plain) <= MAX_SOCKET_PATH) return use(plain)
  const handle = await open(dir, 'r')
  try {
    return await use(`/proc/self/fd/${handle.fd}/${SOCKET}`)
  } finally {
    await handle.close()
  }
}

function listen(server, socketPath) {
  return new Promise((resolve, reject) => {
    // For as long as it lives: an error that nobody listens to would end Haraka.
    server.on('error', reject)
    // exclusive: in a worker process the master would listen in its place, and outlive it.
    server.listen({ path: socketPath, exclusive: true }, resolve)
  })
}

function connects(socketPath) {
  return new Promise((resolve) => {
    const socket = net.connect(socketPath)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    // A full backlog (EAGAIN) or a missing permission is no proof of death.
    socket.once('error', ({ code }) => resolve(code !== 'ECONNREFUSED' && code !== 'ENOENT'))
  })
}

class SpoolHome {
  #root
  #id
  #fsync
  #server
  #dir
  #making
  #closed = false

  /** fsync: whether the directory is to survive a power cut. */
  constructor(root, id, fsync) {
    this.#root = root
    this.#id = id
    this.#fsync = fsync
  }

  get id() {
    return this.#id
  }

  get root() {
    return this.#root
  }

  /** The directory, made if it is not there (any more); an error once it is closed. */
  async dir() {
    if (this.#closed) throw new Error('the spool is closed')
    if (this.#dir && (await exists(this.#dir))) return this.#dir
    this.#making ??= this.#make().finally(() => {
      this.#making = undefined
    })
    return this.#making
  }

  async #make() {
    this.#server?.close()
    const hidden = path.join(this.#root, `.${this.#id}`)
    // Once it was there, spool_dir itself is not made again: it may be Haraka's queue, or on a disk that is away.
    const isNew = this.#dir === undefined
    const first = await mkdir(hidden, { recursive: isNew, mode: 0o700 })
    this.#server = net.createServer((socket) => socket.destroy()).unref()
    await withSocketPath(hidden, (socketPath) => listen(this.#server, socketPath))
    const dir = path.join(this.#root, this.#id)
    await rename(hidden, dir)
    try {
      if (this.#fsync) await syncUpTo(path.dirname(first ?? hidden), this.#root)
    } catch (error) {
      await clear(dir)
      throw error
    }
    this.#dir = dir
    return dir
  }

  /** Nobody is here any more, for good; what is left in the directory is for others to claim. */
  async close() {
    this.#closed = true
    await this.#making?.catch(() => {})
    const dir = this.#dir
    this.#dir = undefined
    if (!dir) return
    await new Promise((resolve) => this.#server.close(resolve))
    await clear(dir)
  }
}

/** The directory, and those above it up to `top`, in which others were made. */
async function syncUpTo(top, dir) {
  await syncDirectory(dir)
  const above = path.dirname(dir)
  if (dir !== top && dir !== above) await syncUpTo(top, above)
}

/** Remove a directory, unless there are batches in it. */
async function clear(dir) {
  await rm(path.join(dir, SOCKET), { force: true })
  await rmdir(dir).catch(ignoreNotEmpty)
}

async function exists(dir) {
  return stat(dir).then(
    () => true,
    () => false,
  )
}

function ignoreNotEmpty(error) {
  if (error.code !== 'ENOTEMPTY' && error.code !== 'ENOENT') throw error
}

async function isAlive(root, holder) {
  const dir = path.join(root, holder)
  return (await exists(dir)) && withSocketPath(dir, connects)
}

/**
 * Directories of dead processes, now renamed to `<id>~<origin>`, and those that `id` claimed before: their paths.
 * An entry that cannot be dealt with is told, by name and error, and keeps none of the others.
 */
async function claim(root, id, tell) {
  const mine = []
  for (const name of await readdir(root).catch(() => [])) {
    try {
      if (BEING_MADE.test(name)) await clearAbandoned(path.join(root, name))
      else if (OURS.test(name)) mine.push(...(await claimOne(root, id, name)))
    } catch (error) {
      tell(name, error)
    }
  }
  return mine
}

async function claimOne(root, id, name) {
  mustBeDirectory(await lstat(path.join(root, name)))
  const [holder, origin = holder] = name.split('~')
  if (holder === id) return origin === id ? [] : [path.join(root, name)]
  if (await isAlive(root, holder)) return []
  const target = path.join(root, `${id}~${origin}`)
  // Whoever renames it first has it.
  return (await renamed(path.join(root, name), target)) ? [target] : []
}

/** Not a link either: what it leads to is somebody else's. */
function mustBeDirectory(stats) {
  if (stats.isDirectory()) return
  throw Object.assign(new Error('a directory expected; it is left alone'), { code: 'ENOTDIR' })
}

async function renamed(from, to) {
  try {
    await rename(from, to)
    return true
  } catch (error) {
    if (error.code === 'ENOENT') return false
    throw error
  }
}

/** A process that died while it made its directory left no batches in it. One that only stalled, or whose clock jumped, lives. */
async function clearAbandoned(dir) {
  const found = await lstat(dir).catch(() => undefined)
  if (!found || Date.now() - found.mtimeMs < ABANDONED_MS) return
  mustBeDirectory(found)
  if (await withSocketPath(dir, connects)) return
  await clear(dir)
}

module.exports = { SOCKET, SpoolHome, claim, clear }
