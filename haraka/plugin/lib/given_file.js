'use strict'

// Files that the ini names: passwords, certificates. A pipe or a device would be waited for, for ever, at a connection.

const { constants } = require('node:fs')
const { open } = require('node:fs/promises')
const path = require('node:path')

const MAX_BYTES = 10_000_000
const CREDENTIALS = '$CREDENTIALS_DIRECTORY'

/** Where a file is; `$CREDENTIALS_DIRECTORY/name` is a credential of systemd. */
function located(file) {
  if (!file.startsWith(`${CREDENTIALS}/`)) return file
  const dir = process.env.CREDENTIALS_DIRECTORY
  if (!dir) throw new Error(`${file}: CREDENTIALS_DIRECTORY is not set`)
  return path.join(dir, file.slice(CREDENTIALS.length))
}

/** The content of a file; an Error for anything else, and for more than maxBytes. */
async function readGiven(file, maxBytes = MAX_BYTES) {
  const handle = await open(located(file), constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const stats = await handle.stat()
    if (!stats.isFile()) throw new Error(`${file} is no file`)
    if (stats.size > maxBytes) throw new Error(`${file} has more than ${maxBytes} bytes`)
    return await handle.readFile()
  } finally {
    await handle.close()
  }
}

module.exports = { readGiven }
