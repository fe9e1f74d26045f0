'use strict'

// What one producer left in a claimed directory: its spool files in the order of their numbers. A later one first would
// lose the earlier.

const { readdir, stat } = require('node:fs/promises')
const path = require('node:path')

const { SpoolFile } = require('./spool_file')

const NAME = /^(.+)~(\d+)\.spool$/

class Backlog {
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

  /** files: [{path, bytes}] that are to be brought; whoever brings one takes it out. */
  constructor(producer, files, tag) {
    this.producer = producer
    this.files = files
    this.tag = tag
  }

  get bytes() {
    return this.files.reduce((sum, { bytes }) => sum + bytes, 0)
  }
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

module.exports = { Backlog, bytesAside }
