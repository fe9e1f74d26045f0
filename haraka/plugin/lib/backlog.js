'use strict'

// What one producer left in a claimed directory: its spool files in the order of their numbers. A later one first would
// lose the earlier.
//
// A file that was brought stays for a while, for a server that loses it again (a failover): it is to a claimed batch what
// the ring is to one of the own. Whether the server lost something shows in the producer's number.

const { readdir, stat, unlink } = require('node:fs/promises')
const path = require('node:path')

const { SpoolFile } = require('./spool_file')

const NAME = /^(.+)~(\d+)(?:\.sent)?\.spool$/

/** The server does not have any more what it had acknowledged. */
class Lost extends Error {}

class Backlog {
  #brought = [] // files that the server has, [{path, bytes, at}], the oldest first
  #last = 0 // number of the last batch that it acknowledged
  isKnown // whether the server knew the producer before anything was brought; undefined until it was asked

  /** The backlogs in a directory. */
  static async in(dir) {
    const numbered = new Map() // producer -> [[number, path]]
    for (const name of await readdir(dir)) {
      const [, producer, number] = NAME.exec(name) ?? []
      if (!producer) continue
      if (!numbered.has(producer)) numbered.set(producer, [])
      numbered.get(producer).push([Number(number), path.join(dir, name)])
    }
    const found = []
    for (const [producer, unsorted] of numbered) {
      const paths = unsorted.sort(([a], [b]) => a - b).map(([, name]) => name)
      const files = []
      for (const name of paths) files.push({ path: name, bytes: await bytesOf(name) })
      found.push(new Backlog(producer, files, await tagOf(paths)))
    }
    return found
  }

  /** files: [{path, bytes}] that are to be brought. */
  constructor(producer, files, tag) {
    this.producer = producer
    this.files = files
    this.tag = tag
  }

  /** Of what is to be brought. */
  get bytes() {
    return this.files.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** The server has the first of the files that were to be brought, or it is out of the way. */
  shift(at) {
    this.#brought.push(Object.assign(this.files.shift(), { at }))
  }

  /** Everything is to be brought again that is still there. */
  rewind() {
    this.files.unshift(...this.#brought.splice(0))
    this.#last = 0
  }

  /** Remove the files that were brought before an instant. */
  async removeBefore(instant) {
    while (this.#brought.length > 0 && this.#brought[0].at < instant) await remove(this.#brought.shift().path)
  }

  /** Whether the last batch that a server has of the producer says that it has all that was brought. */
  isIn(last) {
    return last >= this.#last
  }

  /** As a ring's: a batch was acknowledged. */
  push(batch) {
    this.#last = batch.seq
  }

  /** As a ring's: nothing is held of what was missing before the first batch; what is missing since then is lost. */
  after(last) {
    if (!this.isIn(last)) throw new Lost(`the server lost what it had of ${this.producer} after ${last}`)
    return { batches: [], givenUp: [0, 0, 0] }
  }
}

async function remove(name) {
  await unlink(name).catch((error) => {
    if (error.code !== 'ENOENT') throw error
  })
}

/** Bytes of the files in a claimed directory that nobody will bring: those that were set aside. */
async function bytesAside(dir) {
  const names = await readdir(dir).catch(() => [])
  let bytes = 0
  for (const name of names) if (!NAME.test(name)) bytes += await bytesOf(path.join(dir, name))
  return bytes
}

/** Bytes of a file, 0 of one that is gone. */
async function bytesOf(name) {
  return stat(name).then(
    ({ size }) => size,
    () => 0,
  )
}

/** Hash tag of the partition that a producer's batches are for, from the first that can be read; else undefined. */
async function tagOf(paths) {
  for (const name of paths) {
    const { records } = await firstOf(name)
    if (records.length > 0) return records[0].tag
  }
  return undefined
}

async function firstOf(name) {
  const file = await SpoolFile.existing(name)
  try {
    return await file.read(1)
  } catch {
    // Whoever drains it will meet the same, and say so.
    return { records: [] }
  } finally {
    await file.close()
  }
}

module.exports = { Backlog, Lost, bytesAside }
