// @flow
import type { ColumnSchema } from '@nozbe/watermelondb'

export opaque type Title: string = string
type Options = {| +isOptional?: ?boolean |}

export function string(name: string, options: ?Options): ColumnSchema {
  return ({ name, type: 'string', ...(options: any) }: any)
}
