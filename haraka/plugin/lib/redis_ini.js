'use strict'

// Haraka's redis.ini, read and watched without haraka-config. That keeps one callback for each file: its last reader's, or
// none where the last reader gave none. A reading of ours would take haraka-plugin-redis's away, or theirs would take ours.

const { statSync } = require('node:fs')

const { readSmallSync } = require('./regular_file')

const WATCH_MS = 5000

// As haraka-config has them, but each in one step for each character: its pattern takes minutes for a long line of blanks.
const SECTION = /^\[([^\]]*)\]$/
const COMMENT = /^[;#]/
const KEY = /^[\w@:._+\-/[\]]+$/

/** Section → key → value, as text; what stands before the first section is `main`. */
function parse(text) {
  const sections = new Map([['main', new Map()]])
  let current = sections.get('main')
  for (const line of text.split(/\r\n|\r|\n/).map((each) => each.trim())) {
    const section = SECTION.exec(line)?.[1].trim()
    if (section !== undefined) {
      current = sections.get(section) ?? new Map()
      sections.set(section, current)
    } else if (!COMMENT.test(line)) {
      const [key, ...value] = line.split('=')
      if (KEY.test(key.trim())) current.set(key.trim(), value.join('=').trim())
    }
  }
  return Object.fromEntries(Array.from(sections, ([name, keys]) => [name, Object.fromEntries(keys)]))
}

class RedisIni {
  #file
  #changed
  #watchMs
  #timer
  #seen

  /** changed: called after the file was edited, made or removed. */
  constructor(file, changed, watchMs = WATCH_MS) {
    this.#file = file
    this.#changed = changed
    this.#watchMs = watchMs
  }

  /** What stands in it, {} where it is not there; an Error where it cannot be read. */
  read() {
    // Its time and size are looked at now and then: that needs no file to be there, and survives an editor that replaces it.
    // Not by watchFile: its first look comes later than this one, and an edit in between would never be noticed.
    this.#timer ??= setInterval(() => this.#look(), this.#watchMs).unref()
    this.#seen = this.#facts()
    try {
      return parse(readSmallSync(this.#file))
    } catch (error) {
      if (error.code === 'ENOENT') return {}
      throw error
    }
  }

  close() {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #look() {
    const facts = this.#facts()
    if (facts === this.#seen) return
    this.#seen = facts
    this.#changed()
  }

  #facts() {
    try {
      const { ino, size, mtimeMs } = statSync(this.#file)
      return `${ino} ${size} ${mtimeMs}`
    } catch (error) {
      return error.code
    }
  }
}

module.exports = { RedisIni, parse }
