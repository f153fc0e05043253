import type { TokenStorage } from 'watermelondb-backend-client'

const KEY = 'tokens'

// A browser has nothing more secure that a page could use by itself.
export const tokens: TokenStorage = {
  load: async () => JSON.parse(localStorage.getItem(KEY) ?? 'null'),
  save: async (next) => {
    if (next) localStorage.setItem(KEY, JSON.stringify(next))
    else localStorage.removeItem(KEY)
  },
}
