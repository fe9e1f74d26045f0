'use strict'

// One spool file: records appended at its end by the process that made it, read from its beginning by whoever drains it.
// From then on its name ends in `.sent.spool`: whoever finds it later cannot know which of its records have arrived.

const { open, rename, unlink } = require('node:fs/promises')
const { dirname } = require('node:path')

const { syncDirectory } = require('./directory')
const { decode, INCOMPLETE } = require('./spool_record')

const SUFFIX = '.spool'
const SENT = '.sent.spool'
const READ_BYTES = 256 * 1024

class SpoolFile {
  #handle
  #path
  #size
  #offset = 0
  #isMarked
  events = 0 // in what is unread, where its writer counts them

  /** A new file; with fsync its name is on disk, without which its records would be safe in nothing. */
  static async create(path, fsync) {
    // Mail addresses stand in it: for the mail server's user alone.
    const file = new SpoolFile(await open(path, 'ax+', 0o600), path, 0)
    try {
      if (fsync) await syncDirectory(dirname(path))
      return file
    } catch (error) {
      await file.remove()
      throw error
    }
  }

  static async existing(path) {
    const handle = await open(path, 'r')
    return new SpoolFile(handle, path, (await handle.stat()).size)
  }

  constructor(handle, path, size) {
    this.#handle = handle
    this.#path = path
    this.#size = size
    /** Whether records of it may have been sent before it was opened, beside those that say so themselves. */
    this.wasSent = this.#isMarked = path.endsWith(SENT)
  }

  get path() {
    return this.#path
  }

  /** Records of it are to be sent. A disk that refuses to note that is still read: what is on it is not kept back. */
  async markSent(fsync) {
    if (this.#isMarked) return
    this.#isMarked = true
    const name = this.#path.slice(0, -SUFFIX.length) + SENT
    try {
      await rename(this.#path, name)
      this.#path = name
      if (fsync) await syncDirectory(dirname(name))
    } catch {
      // As said.
    }
  }

  get size() {
    return this.#size
  }

  get unread() {
    return this.#size - this.#offset
  }

  /** Append a record, all of it or nothing. */
  async append(record, fsync) {
    try {
      const { bytesWritten } = await this.#handle.write(record)
      if (bytesWritten !== record.length) throw Object.assign(new Error('short write'), { code: 'ENOSPC' })
      if (fsync) await this.#handle.datasync()
    } catch (error) {
      // What was written of it must not stand in front of the next record.
      await this.#handle.truncate(this.#size)
      throw error
    }
    this.#size += record.length
  }

  /**
   * The next records, up to about maxBytes: {records: [{batch, tag, sent, end}], stop}. `end` is for `advance`; `stop` says why
   * nothing can be read behind them, undefined while there is more or at the end of the file.
   */
  async read(maxBytes) {
    let length = Math.min(this.unread, Math.max(maxBytes, READ_BYTES))
    for (;;) {
      const buffer = await this.#bytes(length)
      const { records, rest } = this.#records(buffer, maxBytes)
      if (!rest || records.length > 0) return { records, stop: undefined }
      if (rest.stop !== INCOMPLETE || length >= this.unread) return { records, stop: rest.stop }
      length = Math.min(this.unread, Math.max(rest.wanted, 2 * length))
    }
  }

  /** Everything before `end` is drained. */
  advance(end) {
    this.#offset = end
  }

  async remove() {
    await this.close()
    await unlink(this.#path)
  }

  /** Keep a file that holds what cannot be read, but out of everybody's way. */
  async setAside() {
    await this.close()
    await rename(this.#path, `${this.#path}.damaged`)
    return `${this.#path}.damaged`
  }

  async close() {
    await this.#handle.close()
  }

  #records(buffer, maxBytes) {
    const records = []
    let at = 0
    while (at < buffer.length && at < maxBytes) {
      const found = decode(buffer, at)
      if (found.stop) return { records, rest: found }
      at = found.end
      records.push({ batch: found.batch, tag: found.tag, sent: found.sent, end: this.#offset + at })
    }
    return { records, rest: undefined }
  }

  async #bytes(length) {
    const buffer = Buffer.allocUnsafe(length)
    const { bytesRead } = await this.#handle.read(buffer, 0, length, this.#offset)
    return buffer.subarray(0, bytesRead)
  }
}

module.exports = { SpoolFile, SUFFIX }
