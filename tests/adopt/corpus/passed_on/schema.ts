import { appSchema, tableSchema } from '@nozbe/watermelondb'
import { isOptional } from './columns'

export const schema = appSchema({ version: 1, tables: [tableSchema({ name: 'logs', columns: [{ name: 'line', type: 'string', isOptional }] })] })
