import { appSchema, tableSchema } from '@nozbe/watermelondb'
import { VERSION } from 'db'
import { NAMES } from '@app/db/names'
import { open } from '~db/flags'

export default appSchema({ version: VERSION, tables: NAMES.map((name) => tableSchema({ name, columns: [open] })) })
