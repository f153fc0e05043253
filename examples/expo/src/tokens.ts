import * as SecureStore from 'expo-secure-store'
import type { TokenStorage } from 'watermelondb-backend-client'

const KEY = 'tokens'

export const tokens: TokenStorage = {
  load: async () => JSON.parse((await SecureStore.getItemAsync(KEY)) ?? 'null'),
  save: async (next) => {
    if (next) await SecureStore.setItemAsync(KEY, JSON.stringify(next))
    else await SecureStore.deleteItemAsync(KEY)
  },
}
