'use strict'

// The headers that the workers' columns want, remembered on the node's disk: a Haraka that starts while Redis is away keeps
// them all the same. One small file in spool_dir for all processes of the node: {key: [names]}.

const { rename, writeFile } = require('node:fs/promises')
const path = require('node:path')

const { names } = require('./headers')
const { readSmallSync } = require('./regular_file')

const FILE = 'wanted_headers.json'

class WantedHeaders {
  #home
  #key
  #log
  #written

  /** home: the directory of this process (spool_home.js); key: the workers'. */
  constructor(home, key, log) {
    this.#home = home
    this.#key = key
    this.#log = log
  }

  get #file() {
    return path.join(this.#home.root, FILE)
  }

  /** The names, or undefined where nothing is remembered. */
  read() {
    const content = this.#content()
    const remembered = Object.hasOwn(content, this.#key) ? content[this.#key] : undefined
    if (!Array.isArray(remembered)) return undefined
    const found = names(remembered)
    this.#written = found.join()
    return found
  }

  /** Remember the names; a disk that refuses is told, and all goes on without. */
  async write(list) {
    const sorted = list.toSorted()
    if (sorted.join() === this.#written) return
    try {
      // With the directory of this process spool_dir is there.
      await this.#home.dir()
      const draft = `${this.#file}.${this.#home.id}`
      const content = { ...this.#content(), [this.#key]: sorted }
      await writeFile(draft, `${JSON.stringify(content)}\n`, { mode: 0o600 })
      await rename(draft, this.#file)
      this.#written = sorted.join()
    } catch (error) {
      this.#log.warn(`wanted headers not remembered: ${error.message}`)
    }
  }

  #content() {
    try {
      const content = JSON.parse(readSmallSync(this.#file))
      if (typeof content === 'object' && content !== null && !Array.isArray(content)) return content
      throw new Error('an object of lists of header names expected')
    } catch (error) {
      if (error.code !== 'ENOENT') this.#log.warn(`${this.#file}: ${error.message}; it is ignored`)
      return {}
    }
  }
}

module.exports = { WantedHeaders }
