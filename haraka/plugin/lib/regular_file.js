'use strict'

// Files that others put there. Whoever opens a pipe that nobody writes into waits for ever, and with it one of the four
// threads that do all of Haraka's work with files; so what is opened is looked at before it is read.

const { closeSync, constants, fstatSync, openSync, readFileSync } = require('node:fs')
const { open } = require('node:fs/promises')

const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants

const MAX_BYTES = 1_000_000

function check(stats, maxBytes) {
  if (!stats.isFile()) throw Object.assign(new Error('a regular file expected'), { code: 'ENOTFILE' })
  if (stats.size > maxBytes) throw new Error(`it has more than ${maxBytes} bytes`)
}

/** A handle to a regular file, for reading; links are not followed. */
async function openRegular(path, flags = O_NOFOLLOW, maxBytes = Infinity) {
  const handle = await open(path, O_RDONLY | O_NONBLOCK | flags)
  try {
    check(await handle.stat(), maxBytes)
    return handle
  } catch (error) {
    await handle.close()
    throw error
  }
}

/** Content of a small file that an operator named, which may be a link. An error names it. */
async function readSmall(path, maxBytes = MAX_BYTES) {
  try {
    const handle = await openRegular(path, 0, maxBytes)
    return await handle.readFile().finally(() => handle.close())
  } catch (error) {
    throw new Error(`${path}: ${error.message}`, { cause: error })
  }
}

/** The same at once, as text. */
function readSmallSync(path) {
  const descriptor = openSync(path, O_RDONLY | O_NONBLOCK)
  try {
    check(fstatSync(descriptor), MAX_BYTES)
    return readFileSync(descriptor, 'utf8')
  } finally {
    closeSync(descriptor)
  }
}

module.exports = { openRegular, readSmall, readSmallSync }
