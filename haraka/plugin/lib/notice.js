'use strict'

// A trouble, said once when it begins and once when it is over, never for each event.

class Notice {
  #log
  #said

  constructor(log) {
    this.#log = log
  }

  begin(text) {
    if (this.#said !== undefined) return
    this.#said = text
    this.#log.error(text)
  }

  /** more: what there is to say of it in the end. */
  end(more = '') {
    if (this.#said === undefined) return
    this.#log.info(`over: ${this.#said}${more}`)
    this.#said = undefined
  }
}

module.exports = { Notice }
