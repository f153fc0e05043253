/**
 * The app's end of the backend: accounts, and sync of one WatermelonDB database with one account.
 * This file needs WatermelonDB alone: use the package, or copy it.
 *
 * Tokens are kept in `storage` (the platform's secure one). Whose database it is, the database says
 * itself: it is never synced with another account.
 */

import type { Database } from '@nozbe/watermelondb/index.js'
import { Q } from '@nozbe/watermelondb/index.js'
import type {
  SyncArgs,
  SyncPullArgs,
  SyncPullResult,
  SyncPushArgs,
} from '@nozbe/watermelondb/sync/index.js'
// With the file's name, since Node's ESM resolves no directories.
import { synchronize } from '@nozbe/watermelondb/sync/index.js'

/** What `storage` keeps of a session. */
export interface Tokens {
  accessToken: string
  refreshToken: string
  tokenType?: string
  expiresIn?: number
}

export interface TokenStorage {
  load: () => Promise<Tokens | null>
  save: (tokens: Tokens | null) => Promise<void>
}

/** Servers may add fields. */
export interface User {
  id: string
  email: string
  name: string | null
  role: 'user' | 'admin'
  isActive: boolean
  createdAt: string
  updatedAt: string
}

/** The body of an error (RFC 9457). */
export interface Problem {
  code?: string
  detail?: string
  errors?: Record<string, string[]>
  [field: string]: unknown
}

/** The answer to a push; servers may add fields. */
export interface PushResult {
  timestamp: number
  upToDate: boolean
  resolved?: Record<string, string[]>
  repaired?: Record<string, string[]>
  ignored?: Record<string, string[]>
  refused?: Record<string, string[]>
  refusedReasons?: Record<string, Record<string, string>>
  [field: string]: unknown
}

export interface Progress {
  phase: 'pull' | 'push'
  /** Records pulled or pushed so far. */
  records: number
  /** Of how many, which only a push knows. */
  total?: number
}

export interface BackendOptions {
  /** With `/v1`. */
  url: string
  storage: TokenStorage
  /** Belongs to one account from its first sync to its reset. */
  database: Database
  /** The session has ended by the backend's word: somebody has to log in again. */
  onSignedOut?: () => void
  onProgress?: (progress: Progress) => void
  /** Each answer to a push, with what was refused, repaired or merged. */
  onPushed?: (result: PushResult) => void
  /** Tables that only the app has: left out of pushes. */
  localTables?: string[]
  /** Records per request of a pull, 1 to 10,000. */
  pageSize?: number
  /** Records per request of a push; a greater push is no longer all or nothing. */
  maxPushRecords?: number
  /** How long to wait for the first byte of an answer, and for each next one. */
  timeoutMs?: number
}

export interface RequestOptions {
  method?: string
  body?: unknown
}

export type SyncOptions = Omit<SyncArgs, 'database' | 'pullChanges' | 'pushChanges'>

export interface Credentials {
  email: string
  password: string
  deviceName?: string
}

export interface Backend {
  /** Open an account and sign in. */
  register(credentials: Credentials & { name?: string }): Promise<User>
  /** Sign in. */
  login(credentials: Credentials): Promise<User>
  /** End the session, offline too. What was not pushed stays in the database. */
  logout(): Promise<void>
  /** Make any other call of the API with the session's token. */
  request<T = unknown>(path: string, options?: RequestOptions): Promise<T>
  /** Run `synchronize()`: one at a time; asked for during a sync, once more after it. */
  sync(options?: SyncOptions): Promise<void>
  /** For a `synchronize()` of your own. */
  pullChanges(args: SyncPullArgs): Promise<SyncPullResult>
  /** For a `synchronize()` of your own. */
  pushChanges(args: SyncPushArgs): Promise<void>
}

/** A call that failed: `status` (0 without an answer) and the stable word `code`. */
export class BackendError extends Error {
  readonly status: number
  readonly code: string | undefined
  readonly problem: Problem
  /** Seconds to wait before the next try, if the backend said so. */
  readonly retryAfter: number | undefined

  constructor(status: number, problem: Problem, retryAfter?: number) {
    super(problem.detail || `The backend answered ${status}`)
    this.name = 'BackendError'
    this.status = status
    this.code = problem.code
    this.problem = problem
    this.retryAfter = retryAfter
  }
}

/** The database belongs to another account than the one that is signed in: reset it, or open another. */
export class AccountChanged extends Error {
  readonly code = 'account_changed'
  readonly hasUnsyncedChanges: boolean

  constructor(hasUnsyncedChanges: boolean) {
    super(
      'This database belongs to another account. ' +
        'Reset it, which loses what was not pushed, or open a database per user.',
    )
    this.name = 'AccountChanged'
    this.hasUnsyncedChanges = hasUnsyncedChanges
  }
}

const USER_KEY = 'watermelondb_backend_user'
const MAX_CALL_MS = 10 * 60_000
const MAX_WAIT_S = 60
const TRIES = 3
/** Uploads may be this slow, in bytes per millisecond, before the limit for the first byte counts. */
const MIN_UPLOAD_RATE = 8
const ENDED = ['unauthorized', 'token_expired', 'token_reused', 'account_disabled']

export function createBackend({
  url,
  storage,
  database,
  onSignedOut = () => {},
  onProgress = () => {},
  onPushed = () => {},
  localTables = [],
  pageSize = 2000,
  maxPushRecords = 5000,
  timeoutMs = 30_000,
}: BackendOptions): Backend {
  const sessions = createSessions(storage)
  const send = createSender(url, timeoutMs)
  let refreshing: { used: Tokens; result: Promise<Tokens> } | null = null
  let running: Promise<void> | null = null
  let queued: Promise<void> | null = null
  // After a push that left nothing to pull: what to ask for instead of `from`.
  let skip: { user: string | undefined; from: number; to: number } | null = null

  /** Make a call with the session's token, and once more with the next one if that has expired. */
  async function authorized(path: string, options: RequestOptions, check?: Check): Promise<Json> {
    const tokens = await sessions.load()
    if (!tokens) {
      throw new BackendError(401, { code: 'unauthorized', detail: 'Nobody is logged in.' })
    }
    await check?.(tokens)
    try {
      return await send(path, { ...options, token: tokens.accessToken })
    } catch (error) {
      if (!isBackendsWord(error, 401)) throw error
      const fresh = await refreshed(tokens)
      await check?.(fresh)
      return send(path, { ...options, token: fresh.accessToken })
    }
  }

  /** Exchange the tokens for new ones. However many calls need them at once, one request is made. */
  function refreshed(used: Tokens): Promise<Tokens> {
    if (refreshing?.used.refreshToken === used.refreshToken) return refreshing.result
    const mine = {
      used,
      result: refresh(used).finally(() => {
        if (refreshing === mine) refreshing = null
      }),
    }
    refreshing = mine
    return mine.result
  }

  async function refresh(used: Tokens): Promise<Tokens> {
    const session = sessions.current()
    const tokens = await sessions.load()
    if (!tokens || userOf(tokens) !== userOf(used)) throw sessionEnded()
    if (tokens.accessToken !== used.accessToken) return tokens
    try {
      const pair = tokensIn(
        await send('/auth/refresh', { method: 'POST', token: tokens.refreshToken }),
      )
      // Signed out, or another user in, meanwhile: the answer is of a session that is gone.
      if (!sessions.replace(session, pair)) throw sessionEnded()
      await sessions.settled()
      return pair
    } catch (error) {
      if (ENDED.some((code) => isBackendsWord(error, 0, code)) && sessions.end(session)) {
        await sessions.settled()
        onSignedOut()
      }
      throw error
    }
  }

  async function signIn(path: string, credentials: object): Promise<User> {
    const answer = await send(path, { method: 'POST', body: credentials })
    const tokens = tokensIn(answer)
    if (!isObject(answer.user) || typeof answer.user.id !== 'string') throw notOurs()
    sessions.begin(tokens)
    skip = null
    await sessions.settled()
    return answer.user as unknown as User
  }

  /** Refuse a session whose user is not the one of the database, or not the one of `since`. */
  function sameUser(since?: { user?: string | undefined }): Check {
    return async (tokens) => {
      const user = userOf(tokens)
      const bound = await database.localStorage.get<string>(USER_KEY)
      const expected = bound ?? since?.user
      if (expected !== undefined && expected !== user) {
        throw new AccountChanged(await hasUnsynced(database, localTables))
      }
      if (since) since.user = user
    }
  }

  async function pullChanges(args: SyncPullArgs): Promise<SyncPullResult> {
    const { lastPulledAt, schemaVersion, migration } = args
    const resets = resetsOf(database)
    const whose: { user?: string | undefined } = {}
    const check = sameUser(whose)
    const current = await sessions.load()
    const from =
      skip && current && skip.from === lastPulledAt && skip.user === userOf(current)
        ? skip.to
        : lastPulledAt
    const body = { schemaVersion, migration, limit: pageSize, lastPulledAt: from }
    const whole = await pull(body)
    let records = countRecords(whole.changes)
    onProgress({ phase: 'pull', records })
    while (whole.cursor) {
      const page = await pull({ ...body, cursor: whole.cursor })
      append(whole.changes, page.changes)
      whole.cursor = page.cursor
      records += countRecords(page.changes)
      onProgress({ phase: 'pull', records })
    }
    delete whole.cursor
    // A database that was reset meanwhile is nobody's; synchronize() will refuse what was pulled.
    if (whose.user !== undefined && resetsOf(database) === resets) {
      await database.localStorage.set(USER_KEY, whose.user)
    }
    // The type does not know experimentalStrategy, which synchronize() takes from here.
    return whole as unknown as SyncPullResult

    async function pull(request: object): Promise<Pulled> {
      const answer = await patiently(() =>
        authorized('/sync/pull', { method: 'POST', body: request }, check),
      )
      if (!isObject(answer.changes) || typeof answer.timestamp !== 'number') throw notOurs()
      return answer as unknown as Pulled
    }
  }

  async function pushChanges({ changes, lastPulledAt }: SyncPushArgs): Promise<void> {
    skip = null
    const whose: { user?: string | undefined } = {}
    const check = sameUser(whose)
    const entries = inOrder(database, changes as Changes, localTables)
    const parts: Entry[][] = []
    for (let at = 0; at < entries.length; at += maxPushRecords) {
      parts.push(entries.slice(at, at + maxPushRecords))
    }
    let part: Entry[] | undefined
    let pushed = 0
    while ((part = parts.shift())) {
      const body = { changes: changeSet(part), lastPulledAt }
      try {
        const answer = await patiently(() =>
          authorized('/sync/push', { method: 'POST', body }, check),
        )
        if (typeof answer.timestamp !== 'number') throw notOurs()
        const result = answer as unknown as PushResult
        pushed += part.length
        onProgress({ phase: 'push', records: pushed, total: entries.length })
        onPushed(result)
        if (result.upToDate && part.length === entries.length) {
          skip = { user: whose.user, from: lastPulledAt, to: result.timestamp }
        }
      } catch (error) {
        if (!(error instanceof BackendError && error.status === 413 && part.length > 1)) throw error
        const half = Math.ceil(part.length / 2)
        parts.unshift(part.slice(0, half), part.slice(half))
      }
    }
  }

  async function run(options: SyncOptions): Promise<void> {
    const once = () => synchronize({ ...options, database, pullChanges, pushChanges })
    try {
      await once()
    } catch (error) {
      // WatermelonDB advises to try again; calls have been repeated already where that helps.
      if (error instanceof BackendError || error instanceof AccountChanged) throw error
      await once()
    }
  }

  function sync(options: SyncOptions = {}): Promise<void> {
    if (!running) {
      running = run(options).finally(() => {
        running = null
      })
      return running
    }
    queued ??= running
      .catch(() => {})
      .then(() => {
        queued = null
        return sync(options)
      })
    return queued
  }

  return {
    register: (credentials) => signIn('/auth/register', credentials),
    login: (credentials) => signIn('/auth/login', credentials),

    async logout() {
      const tokens = await sessions.load().catch(() => null)
      sessions.begin(null)
      skip = null
      await sessions.settled()
      if (tokens) {
        // Any token of a session ends it, whatever a refresh under way makes of it.
        const body = { refreshToken: tokens.refreshToken }
        await send('/auth/logout', { method: 'POST', body }).catch(() => {})
      }
    },

    async request<T>(path: string, options: RequestOptions = {}) {
      return (await authorized(path, options)) as T
    },

    pullChanges,
    pushChanges,
    sync,
  }
}

type Json = Record<string, unknown>
type Check = (tokens: Tokens) => Promise<void>
type Bucket = 'created' | 'updated' | 'deleted'
/** As WatermelonDB's SyncDatabaseChangeSet, which does not compile in every setting of TypeScript. */
type Changes = Record<string, { created: Raw[]; updated: Raw[]; deleted: string[] }>
type Raw = { id: string; [column: string]: unknown }
type Pulled = { changes: Changes; timestamp: number; cursor?: string | undefined }
interface Entry {
  table: string
  bucket: Bucket
  id: string
  // A record, or the id of a deleted one.
  value: unknown
}

/** Keep the tokens; one session after the other, and in memory what could not be saved yet. */
function createSessions(storage: TokenStorage) {
  let number = 0
  let unsaved: { tokens: Tokens | null } | null = null
  let writing = Promise.resolve()

  function put(tokens: Tokens | null) {
    unsaved = { tokens }
    write()
  }

  function write() {
    writing = writing.then(async () => {
      const saved = unsaved
      if (!saved) return
      try {
        await storage.save(saved.tokens)
        if (unsaved === saved) unsaved = null
      } catch {
        // Tried again before the next use.
      }
    })
  }

  return {
    current: () => number,
    settled: () => writing,

    async load(): Promise<Tokens | null> {
      if (!unsaved) return storage.load()
      const { tokens } = unsaved
      write()
      await writing
      return unsaved ? unsaved.tokens : tokens
    },

    begin(tokens: Tokens | null) {
      number += 1
      put(tokens)
    },

    /** Take the next tokens of a session, unless that is over. */
    replace(session: number, tokens: Tokens): boolean {
      if (session !== number) return false
      put(tokens)
      return true
    },

    end(session: number): boolean {
      if (session !== number) return false
      number += 1
      put(null)
      return true
    },
  }
}

/** The function that sends one request, within limits of time. */
function createSender(url: string, timeoutMs: number) {
  return async function send(
    path: string,
    { method = 'GET', body, token }: RequestOptions & { token?: string } = {},
  ): Promise<Json> {
    const payload = body === undefined ? undefined : JSON.stringify(body)
    const clock = createClock(timeoutMs)
    try {
      const response = await clock.wait(
        fetch(`${url}${path}`, {
          method,
          headers: token ? { Authorization: `Bearer ${token}` } : {},
          ...(payload === undefined ? {} : { body: payload }),
          ...(clock.signal ? { signal: clock.signal } : {}),
        }),
        timeoutMs + (payload?.length ?? 0) / MIN_UPLOAD_RATE,
      )
      const text = await readText(response, clock)
      const answer = parsed(text)
      if (!response.ok) {
        throw new BackendError(
          response.status,
          isProblem(response) && isObject(answer) ? answer : {},
          retryAfter(response),
        )
      }
      if (response.status === 204) return null as unknown as Json
      if (!isObject(answer)) throw notOurs()
      return answer
    } catch (error) {
      if (error instanceof BackendError) throw error
      const detail = `${url} does not answer: ${error instanceof Error ? error.message : error}`
      throw new BackendError(0, { code: 'network', detail })
    } finally {
      clock.stop()
    }
  }
}

/** Limits of time for one request, which hold on platforms that cannot abort one, too. */
function createClock(timeoutMs: number) {
  const controller = typeof AbortController === 'undefined' ? null : new AbortController()
  const timers = new Set<ReturnType<typeof setTimeout>>()
  let expire: (error: BackendError) => void
  const expired = new Promise<never>((_, reject) => {
    expire = reject
  })
  expired.catch(() => {})

  function startTimer(ms: number) {
    const timer = setTimeout(() => {
      const detail = `The backend did not answer within ${Math.round(ms)} ms.`
      expire(new BackendError(0, { code: 'timeout', detail }))
      controller?.abort()
    }, ms)
    timers.add(timer)
    return timer
  }
  startTimer(MAX_CALL_MS)

  return {
    signal: controller?.signal,

    async wait<T>(what: Promise<T>, ms = timeoutMs): Promise<T> {
      const timer = startTimer(ms)
      try {
        return await Promise.race([what, expired])
      } finally {
        clearTimeout(timer)
        timers.delete(timer)
      }
    },

    stop: () => timers.forEach((timer) => clearTimeout(timer)),
  }
}

async function readText(
  response: Response,
  clock: ReturnType<typeof createClock>,
): Promise<string> {
  const reader = typeof TextDecoder === 'undefined' ? undefined : response.body?.getReader?.()
  if (!reader) return clock.wait(response.text(), MAX_CALL_MS)
  const decoder = new TextDecoder()
  let text = ''
  for (;;) {
    const { done, value } = await clock.wait(reader.read())
    if (done) return text + decoder.decode()
    text += decoder.decode(value, { stream: true })
  }
}

/** Repeat a call that may be repeated: after what the backend asks for, else backing off. */
async function patiently<T>(call: () => Promise<T>): Promise<T> {
  for (let tried = 1; ; tried += 1) {
    try {
      return await call()
    } catch (error) {
      const again =
        error instanceof BackendError && [0, 429, 502, 503, 504].includes(error.status)
      if (!again || tried === TRIES || (error.retryAfter ?? 0) > MAX_WAIT_S) throw error
      const jitter = 250 * 2 ** tried * (0.5 + Math.random())
      const ms = error.retryAfter === undefined ? jitter : error.retryAfter * 1000 + jitter / 4
      await new Promise((resolve) => setTimeout(resolve, ms))
    }
  }
}

function retryAfter(response: Response): number | undefined {
  const value = response.headers.get('Retry-After')
  if (!value) return undefined
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000
  return Number.isNaN(seconds) ? undefined : Math.max(0, seconds)
}

function isProblem(response: Response): boolean {
  return /^application\/problem\+json/i.test(response.headers.get('Content-Type') ?? '')
}

/** Whether the backend itself said so, and not a proxy or a hotel's login page. */
function isBackendsWord(error: unknown, status: number, code?: string): boolean {
  if (!(error instanceof BackendError) || error.code === undefined) return false
  return (!status || error.status === status) && (!code || error.code === code)
}

function notOurs(): BackendError {
  const detail = 'The answer is not the backend’s. Is there a login page in between, or a wrong url?'
  return new BackendError(0, { code: 'unexpected_answer', detail })
}

function sessionEnded(): BackendError {
  return new BackendError(401, { code: 'unauthorized', detail: 'The session has ended meanwhile.' })
}

function tokensIn(answer: Json): Tokens {
  const { user: _, ...tokens } = answer
  if (typeof tokens.accessToken !== 'string' || typeof tokens.refreshToken !== 'string') {
    throw notOurs()
  }
  return tokens as unknown as Tokens
}

/** The user's id as the tokens say it, expired ones too. */
function userOf({ accessToken, refreshToken }: Tokens): string | undefined {
  return subject(accessToken) ?? subject(refreshToken)
}

function subject(token: string): string | undefined {
  const claims = parsed(decodeBase64Url(token.split('.')[1] ?? ''))
  return isObject(claims) && typeof claims.sub === 'string' ? claims.sub : undefined
}

/** Older React Native has no atob. Claims are ASCII, so a byte is a character. */
function decodeBase64Url(text: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  let [bits, held, result] = [0, 0, '']
  for (const character of text) {
    bits = (bits << 6) | alphabet.indexOf(character)
    held += 6
    if (held >= 8) {
      held -= 8
      result += String.fromCharCode((bits >> held) & 255)
    }
    bits &= 255
  }
  return result
}

async function hasUnsynced(database: Database, localTables: string[]): Promise<boolean> {
  for (const table of Object.keys(database.schema.tables)) {
    if (localTables.includes(table)) continue
    const dirty = database.get(table).query(Q.where('_status', Q.notEq('synced')))
    if ((await dirty.fetchCount()) > 0) return true
    if ((await database.adapter.getDeletedRecords(table)).length > 0) return true
  }
  return false
}

/** Public API has no word for it; synchronize() itself goes by this number. */
function resetsOf(database: Database): unknown {
  return (database as unknown as { _resetCount: unknown })._resetCount
}

/** All changes, each record after what it belongs to, and deletions last. */
function inOrder(
  database: Database,
  changes: Changes,
  localTables: string[],
): Entry[] {
  const writes = new Map<string, Entry>()
  const deletions: Entry[] = []
  for (const [table, change] of Object.entries(changes)) {
    if (localTables.includes(table)) continue
    for (const bucket of ['created', 'updated'] as const) {
      for (const value of change[bucket]) {
        writes.set(`${table} ${value.id}`, { table, bucket, id: value.id, value })
      }
    }
    for (const id of change.deleted) deletions.push({ table, bucket: 'deleted', id, value: id })
  }
  const ordered = new Set<Entry>()
  const begun = new Set<Entry>()
  for (const first of writes.values()) {
    const stack = [first]
    while (stack.length > 0) {
      const entry = stack[stack.length - 1]!
      const parents = begun.has(entry) ? [] : parentsOf(entry)
      begun.add(entry)
      stack.push(...parents)
      if (parents.length === 0) ordered.add(stack.pop()!)
    }
  }
  return [...ordered, ...deletions]

  /** What the entry belongs to by its model and is in this push, unless that is on its way. */
  function parentsOf({ table, value }: Entry): Entry[] {
    const { associations } = database.get(table).modelClass as unknown as {
      associations: Record<string, { type: string; key?: string }>
    }
    return Object.entries(associations).flatMap(([parent, association]) => {
      if (association.type !== 'belongs_to') return []
      const entry = writes.get(`${parent} ${(value as Json)[association.key!]}`)
      return entry && !begun.has(entry) ? [entry] : []
    })
  }
}

function changeSet(entries: Entry[]): Changes {
  const changes: Changes = {}
  for (const { table, bucket, value } of entries) {
    changes[table] ??= { created: [], updated: [], deleted: [] }
    changes[table][bucket].push(value as Raw & string)
  }
  return changes
}

function append(changes: Changes, more: Changes) {
  for (const [table, change] of Object.entries(more)) {
    const into = (changes[table] ??= { created: [], updated: [], deleted: [] })
    for (const bucket of ['created', 'updated', 'deleted'] as const) {
      for (const row of change[bucket]) into[bucket].push(row as Raw & string)
    }
  }
}

function countRecords(changes: Changes): number {
  return Object.values(changes).reduce(
    (sum, { created, updated, deleted }) => sum + created.length + updated.length + deleted.length,
    0,
  )
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
