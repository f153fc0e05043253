/** Sync when others have changed something: the server says so through a WebSocket, which carries no data. */

import type { AutoSyncOptions } from './auto.js'
import type { Backend, BackendEvent } from './backend.js'
import { AccountChanged, BackendError } from './backend.js'

export interface LiveOptions {
  /** React Native's `AppState`; a browser needs none. */
  appState?: NonNullable<AutoSyncOptions['appState']>
}

/** Where WatermelonDB keeps what it last pulled up to. */
const LAST_PULLED_AT_KEY = '__watermelon_last_pulled_at'
const FIRST_RETRY_MS = 1000
const MAX_RETRY_MS = 60_000
/** To open a socket. A connection that hangs says nothing. */
const MAX_OPENING_MS = 20_000
/** A socket that lived so long was let in. */
const STABLE_MS = 10_000
/** The longest that a socket is trusted: a phone that changed its network may never hear that it has gone. */
const MAX_AGE_MS = 15 * 60_000
const UNAUTHORIZED = 4401

const running = new WeakMap<Backend, () => void>()

/**
 * Call `onNudge` (a sync) whenever there is something to pull, while somebody is signed in and the app is
 * in the foreground. Return what ends that; another call for the same backend ends it too.
 */
export function live(
  backend: Backend,
  onNudge: () => Promise<unknown>,
  { appState }: LiveOptions = {},
): () => void {
  let socket: WebSocket | null = null
  let timer: ReturnType<typeof setTimeout> | undefined
  let failures = 0
  // What belongs to an earlier one is over.
  let attempt = 0
  let isForeground = typeof document === 'undefined' || document.visibilityState !== 'hidden'
  let isOver = false
  /** The access token that the server has turned down. */
  let rejected: string | undefined

  function close() {
    attempt += 1
    clearTimeout(timer)
    timer = undefined
    socket?.close()
    socket = null
  }

  /** Open a socket in the place of the one that there is. */
  async function open() {
    close()
    if (isOver || !isForeground) return
    const mine = attempt
    timer = setTimeout(retry, MAX_OPENING_MS)
    try {
      const accessToken = await backend.accessToken(rejected)
      const lastPulledAt =
        (await backend.database.localStorage.get<number>(LAST_PULLED_AT_KEY)) ?? null
      if (mine === attempt) connect(accessToken, lastPulledAt)
    } catch (error) {
      if (mine !== attempt) return
      if (mayPass(error)) retry()
      else close()
    }
  }

  function connect(accessToken: string, lastPulledAt: number | null) {
    const mine = attempt
    const openedAt = Date.now()
    const current = new WebSocket(`${backend.url.replace(/^http/, 'ws')}/sync/live`)
    socket = current
    current.onopen = () => {
      if (mine !== attempt) return
      current.send(JSON.stringify({ accessToken, lastPulledAt }))
      clearTimeout(timer)
      timer = setTimeout(open, MAX_AGE_MS)
    }
    current.onmessage = () => {
      if (mine === attempt) void nudged()
    }
    current.onclose = ({ code }) => {
      if (mine !== attempt) return
      if (Date.now() - openedAt > STABLE_MS) failures = 0
      if (code === UNAUTHORIZED) rejected = accessToken
      // Every token expires; only the next one that is turned down, too, is a reason to wait.
      if (code === UNAUTHORIZED && failures === 0) {
        failures = 1
        void open()
      } else retry()
    }
  }

  async function nudged() {
    const mine = attempt
    try {
      await onNudge()
      failures = 0
    } catch {
      // The next socket is told once more what this sync did not bring.
      if (mine === attempt) retry()
    }
  }

  function retry() {
    close()
    const wait = Math.min(FIRST_RETRY_MS * 2 ** failures, MAX_RETRY_MS) * (0.5 + Math.random())
    failures += 1
    timer = setTimeout(open, wait)
  }

  function begin() {
    failures = 0
    void open()
  }

  function onEvent(event: BackendEvent) {
    if (event.type === 'session') {
      rejected = undefined
      if (event.userId === null) close()
      else begin()
    }
    // A database that was reset is its owner's again, and syncs.
    if (event.type === 'sync' && event.phase === 'done' && timer === undefined) begin()
  }

  function onForeground(now: boolean) {
    if (now === isForeground) return
    isForeground = now
    if (now) begin()
    else close()
  }

  const subscription = appState?.addEventListener('change', (state) => {
    // While iOS shows the list of apps it is `inactive`, which is soon over.
    if (state !== 'inactive') onForeground(state === 'active')
  })
  const stops = [backend.subscribe(onEvent), inBrowser(onForeground, begin)]

  function stop() {
    isOver = true
    close()
    subscription?.remove()
    stops.forEach((end) => end())
    if (running.get(backend) === stop) running.delete(backend)
  }
  running.get(backend)?.()
  running.set(backend, stop)
  void open()
  return stop
}

/** The backend or the way to it may come back by itself; nobody signs in by waiting. */
function mayPass(error: unknown): boolean {
  if (error instanceof AccountChanged) return false
  if (!(error instanceof BackendError)) return true
  return error.status === 0 || error.status === 429 || error.status >= 500
}

/** A page that is looked at or not, and a browser that is connected again. */
function inBrowser(onVisible: (isVisible: boolean) => void, onOnline: () => void): () => void {
  // React Native has a window that has no events.
  if (typeof document === 'undefined' || !document.addEventListener) return () => {}
  const onVisibility = () => onVisible(document.visibilityState === 'visible')
  document.addEventListener('visibilitychange', onVisibility)
  window.addEventListener('online', onOnline)
  return () => {
    document.removeEventListener('visibilitychange', onVisibility)
    window.removeEventListener('online', onOnline)
  }
}
