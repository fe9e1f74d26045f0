'use strict'

// Files that the ini names: passwords, certificates. A pipe or a device would be waited for, for ever, at a connection.

const path = require('node:path')

const { readSmall } = require('./regular_file')

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
  return readSmall(located(file), maxBytes)
}

module.exports = { readGiven }
