'use strict'

// What one producer left in a claimed directory: its spool files in the order of their numbers. A later one first would
// lose the earlier.
//
// A file that was brought stays for a while, for a server that loses it again (a failover): it is to a claimed batch what
// the ring is to one of the own. Whether the server lost something shows in the producer's number.

const { lstat, readdir, unlink } = require('node:fs/promises')
const path = require('node:path')

const { PRODUCER } = require('./record_fields')
const { SpoolFile, asideOf, setAside } = require('./spool_file')
const { SOCKET } = require('./spool_home')

const NAME = /^(.+)~([1-9]\d{0,14})(?:\.sent)?\.spool$/

const EXPECTED = 'a regular file <producer>~<number>.spool expected; it is left alone'

/** The server does not have any more what it had acknowledged. */
class Lost extends Error {}

class Backlog {
  #brought = [] // files that the server has, [{path, bytes, at}], the oldest first
  #last = 0 // number of the last batch that it acknowledged
  isKnown // whether the server knew the producer before anything was brought; undefined until it was asked

  /** The backlogs in a directory. What is none of their files is told, by name and error, and left alone. */
  static async in(dir, tell = () => {}) {
    const numbered = new Map() // producer -> [{number, path, bytes}]
    for (const name of await readdir(dir)) {
      const found = await spoolFile(dir, name)
      if (found) numbered.set(found.producer, [...(numbered.get(found.producer) ?? []), found])
      else if (name !== SOCKET && !name.endsWith(asideOf(''))) tell(name, new Error(EXPECTED))
    }
    const backlogs = []
    for (const [producer, unsorted] of numbered) {
      const files = unsorted.sort((a, b) => a.number - b.number)
      backlogs.push(new Backlog(producer, files, await tagOf(producer, files)))
    }
    return backlogs
  }

  /** files: [{path, bytes, damagedAt}] that are to be brought. */
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
    while (this.#brought.length > 0 && this.#brought[0].at < instant) await end(this.#brought.shift())
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

/** A spool file by its name: {producer, number, path, bytes}; undefined for anything else. Links are not followed. */
async function spoolFile(dir, name) {
  const [, producer, number] = NAME.exec(name) ?? []
  if (!producer || !PRODUCER.test(producer)) return undefined
  const found = path.join(dir, name)
  const stats = await lstat(found).catch(() => undefined)
  return stats?.isFile() ? newFile(producer, number, found, stats.size) : undefined
}

/** damagedAt: where parts of it could not be read, as far as it was read. */
function newFile(producer, number, name, bytes) {
  return { producer, number: Number(number), path: name, bytes, damagedAt: new Set() }
}

/** What was brought goes; a file of which a part could not be read is kept. */
async function end({ path: name, damagedAt }) {
  if (damagedAt.size > 0) return setAside(name)
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
  return lstat(name).then(
    ({ size }) => size,
    () => 0,
  )
}

/** Hash tag of the partition that a producer's batches are for, from the first that can be read; else undefined. */
async function tagOf(producer, files) {
  for (const { path: name } of files) {
    const record = await firstOf(name, producer).catch(() => undefined) // whoever drains it will meet the same, and say so
    if (record) return record.tag
  }
  return undefined
}

async function firstOf(name, producer) {
  const file = await SpoolFile.existing(name, { producer })
  try {
    const { records, stop } = await file.read(1)
    if (!stop) return records[0]
    await file.skip()
    return (await file.read(1)).records[0]
  } finally {
    await file.close()
  }
}

module.exports = { Backlog, Lost, bytesAside }
