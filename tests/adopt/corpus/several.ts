import { appSchema, tableSchema } from '@nozbe/watermelondb'

export const main = appSchema({ version: 1, tables: [tableSchema({ name: 'rows', columns: [] })] })
export const cache = appSchema({ version: 1, tables: [tableSchema({ name: 'entries', columns: [] })] })
