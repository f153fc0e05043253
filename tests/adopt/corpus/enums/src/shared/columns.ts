import type { ColumnSchema } from '@nozbe/watermelondb'

export const flag = (name: string): ColumnSchema => ({ name, type: 'boolean' })
export const timestamps = { columns: [{ name: 'created_at', type: 'number' }, { name: 'updated_at', type: 'number' }] } as const
