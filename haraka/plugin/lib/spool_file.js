'use strict'

// One spool file: records appended at its end by the process that made it, read from its beginning by whoever drains it.
// From then on its name ends in `.sent.spool`: whoever finds it later cannot know which of its records have arrived.

const { open, rename, unlink } = require('node:fs/promises')
const { dirname } = require('node:path')

const { syncDirectory } = require('./directory')
const { openRegular } = require('./regular_file')
const { decode, nextRecord, DAMAGED, INCOMPLETE } = require('./spool_record')

const SUFFIX = '.spool'
const SENT = '.sent.spool'
const READ_BYTES = 256 * 1024

class SpoolFile {
  #handle
  #path
  #size
  #offset = 0
  #isMarked
  #expected
  #written = [] // [{end, events}] of the unread records that this process has written

  /** Whether a part of it could not be read; then it is to be kept. */
  isDamaged = false

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

  /** A file that another process left; expected: {producer, tag} of all of its records, where that is known. */
  static async existing(path, expected) {
    const handle = await openRegular(path)
    return new SpoolFile(handle, path, (await handle.stat()).size, expected)
  }

  constructor(handle, path, size, expected) {
    this.#handle = handle
    this.#path = path
    this.#size = size
    this.#expected = expected
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

  /** Events in what is unread, as far as this process has written it. */
  get events() {
    return this.#written.reduce((sum, { events }) => sum + events, 0)
  }

  /** Append a record of so many events, all of it or nothing. */
  async append(record, fsync, events = 0) {
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
    this.#written.push({ end: this.#size, events })
  }

  /**
   * The next records, up to about maxBytes: {records: [{batch, tag, sent, end}], stop, why}. `end` is for `advance`; `stop` and
   * `why` tell why none can be read, undefined where some can, or at the end of the file.
   */
  async read(maxBytes) {
    let length = Math.min(this.unread, Math.max(maxBytes, READ_BYTES))
    for (;;) {
      const buffer = await this.#bytes(length)
      if (buffer.length === 0 && length > 0) return { records: [], stop: DAMAGED, why: 'the file was cut' }
      const { records, rest } = this.#records(buffer, maxBytes)
      if (!rest || records.length > 0) return { records }
      if (rest.stop !== INCOMPLETE || length >= this.unread) return { records, ...rest }
      length = Math.min(this.unread, Math.max(rest.wanted, 2 * length))
    }
  }

  /** Everything before `end` is drained. */
  advance(end) {
    this.#offset = end
    while (this.#written[0]?.end <= end) this.#written.shift()
  }

  /**
   * Pass over what cannot be read, to the next record that can be or to the end of the file: {at, bytes, events}, the events
   * as far as this process has written them.
   */
  async skip() {
    this.isDamaged = true
    const [at, before] = [this.#offset, this.events]
    do {
      const buffer = await this.#bytes(Math.min(this.unread, READ_BYTES))
      this.advance(buffer.length > 0 ? this.#offset + nextRecord(buffer) : this.#size)
    } while (this.unread > 0 && (await this.read(1)).records.length === 0)
    return { at, bytes: this.#offset - at, events: before - this.events }
  }

  /** Remove a file that was brought, or keep it out of everybody's way where a part of it could not be read. */
  async end() {
    if (!this.isDamaged) return this.remove()
    await this.close()
    await setAside(this.#path)
  }

  async remove() {
    await this.close()
    await unlink(this.#path)
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
      if (this.#isStrange(found)) return { records, rest: { stop: DAMAGED, why: 'of another producer' } }
      at = found.end
      records.push({ batch: found.batch, tag: found.tag, sent: found.sent, end: this.#offset + at })
    }
    return { records, rest: undefined }
  }

  /** Whether a record is of another producer or partition than the file: only a record that was put there is. */
  #isStrange({ batch, tag }) {
    const { producer = batch.producer, tag: due = tag } = this.#expected ?? {}
    return batch.producer !== producer || tag !== due
  }

  async #bytes(length) {
    const buffer = Buffer.allocUnsafe(length)
    const { bytesRead } = await this.#handle.read(buffer, 0, length, this.#offset)
    return buffer.subarray(0, bytesRead)
  }
}

/** Where a file stands that holds what cannot be read. */
function asideOf(path) {
  return `${path}.damaged`
}

/** Put a file there; one that is gone already is no matter. */
async function setAside(path) {
  await rename(path, asideOf(path)).catch((error) => {
    if (error.code !== 'ENOENT') throw error
  })
}

module.exports = { SpoolFile, SUFFIX, asideOf, setAside }
