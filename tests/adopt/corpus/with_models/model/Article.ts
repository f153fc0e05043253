import { Model, Q, Query, Relation } from '@nozbe/watermelondb'
import { children, date, json, lazy, relation, text, writer } from '@nozbe/watermelondb/decorators'
import { View } from 'react-native'
import Remark from './Remark'

const sanitize = (value: unknown) => value ?? {}

export default class Article extends Model {
  static table = 'posts'
  static associations = { comments: { type: 'has_many', foreignKey: 'on' } } as const

  @json('meta', sanitize) meta!: object
  @date('written_on') writtenOn!: Date
  @text('author') author!: string
  @relation('members', 'author') writer!: Relation<Model>
  @children('comments') comments!: Query<Remark>
  @lazy best = this.comments.extend(Q.sortBy('score'))

  @writer async rename() {
    return View
  }
}
