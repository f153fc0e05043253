import { Model } from '@nozbe/watermelondb'
import { json, relation } from '@nozbe/watermelondb/decorators'
import { TABLES } from '@acme/not-here'

class Named extends Model {
  @json('name', String) name!: string
}

export class Member extends Named {
  static table = 'members'
  static associations = { [TABLES.posts]: { type: 'has_many', foreignKey: TABLES.key } }
  @relation(TABLES.posts, 'post_id') post!: unknown
}
export class Unknown extends Model {
  static table = TABLES.unknown
}
