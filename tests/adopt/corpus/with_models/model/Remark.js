import Model, { associations } from '@nozbe/watermelondb/Model'
import field from '@nozbe/watermelondb/decorators/field'
import { immutableRelation, readonly, date } from '@nozbe/watermelondb/decorators'
import Article from './Article'

export default class Remark extends Model {
  static table = 'comments'
  static associations = associations(['posts', { type: 'belongs_to', key: 'on' }], ['gone', { type: 'belongs_to', key: 'gone_id' }])

  @field('score') score
  @readonly @date('created_at') createdAt
  @immutableRelation('posts', 'on') article
  Article = Article
}
