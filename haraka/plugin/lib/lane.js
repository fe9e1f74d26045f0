'use strict'

// What is claimed for one partition goes to it one backlog after the other, by one courier that is there as long as there
// is work. Another partition's lane goes on while this one's server is away.

class Lane {
  #courierFor
  #courier
  #last = Promise.resolve()
  #jobs = 0

  /** courierFor(): a new courier to the partition. */
  constructor(courierFor) {
    this.#courierFor = courierFor
  }

  /** Do a job, `job(courier)`, after those before it; its outcome. */
  run(job) {
    this.#jobs++
    const done = this.#last
      .then(() => job((this.#courier ??= this.#courierFor())))
      .finally(() => this.#rest())
    this.#last = done.catch(() => {})
    return done
  }

  /** Whoever waits for the server waits no longer. */
  close() {
    this.#courier?.close()
  }

  #rest() {
    if (--this.#jobs > 0) return
    this.#courier?.close()
    this.#courier = undefined
  }
}

module.exports = { Lane }
