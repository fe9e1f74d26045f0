'use strict'

// What one producer left in a claimed directory: its spool files in the order of their numbers. A later one first would
// lose the earlier.

const { readdir } = require('node:fs/promises')
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
    for (const [producer, files] of numbered) {
      const paths = files.sort(([a], [b]) => a - b).map(([, name]) => name)
      found.push(new Backlog(producer, paths, await tagOf(paths)))
    }
    return found
  }

  constructor(producer, paths, tag) {
    this.producer = producer
    this.paths = paths
    this.tag = tag
  }
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

module.exports = { Backlog }
