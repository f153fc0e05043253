import { Q } from '@nozbe/watermelondb'
import { withObservables } from '@nozbe/watermelondb/react'
import { useState } from 'react'
import { Button, FlatList, Text, TextInput, View } from 'react-native'
import { useSession } from 'watermelondb-backend-client/react'

import { database } from './backend'
import type { Project, Task } from './schema'
import { styles } from './styles'
import { SyncBar } from './SyncBar'

const projects = database.get<Project>('projects')
const tasks = database.get<Task>('tasks')

async function addTask(title: string) {
  await database.write(async () => {
    const [first] = await projects.query(Q.sortBy('created_at'), Q.take(1))
    const project = first ?? (await projects.create((made) => (made.name = 'Tasks')))
    await tasks.create((made) => {
      made.title = title
      made.project.set(project)
    })
  })
}

function TaskRow({ task }: { task: Task }) {
  const toggle = () =>
    database.write(() => task.update(() => (task.isCompleted = !task.isCompleted)))
  return (
    <View style={styles.row}>
      <Button onPress={toggle} title={task.isCompleted ? '☑' : '☐'} />
      <Text style={styles.grow}>{task.title}</Text>
      <Button onPress={() => database.write(() => task.markAsDeleted())} title="Delete" />
    </View>
  )
}
const Row = withObservables(['task'], ({ task }: { task: Task }) => ({ task }))(TaskRow)

function TaskList({ all }: { all: Task[] }) {
  return (
    <FlatList data={all} keyExtractor={({ id }) => id} renderItem={({ item }) => <Row task={item} />} />
  )
}
const List = withObservables([], () => ({
  all: tasks.query(Q.sortBy('created_at', Q.desc)).observe(),
}))(TaskList)

export function Tasks() {
  const { logout } = useSession()
  const [title, setTitle] = useState('')

  async function submit() {
    if (!title.trim()) return
    setTitle('')
    await addTask(title.trim())
  }

  return (
    <>
      <View style={styles.row}>
        <Text style={[styles.title, styles.grow]}>Tasks</Text>
        <Button onPress={logout} title="Log out" />
      </View>
      <SyncBar />
      <View style={styles.row}>
        <TextInput
          aria-label="New task"
          onChangeText={setTitle}
          onSubmitEditing={submit}
          placeholder="New task"
          style={[styles.input, styles.grow]}
          value={title}
        />
        <Button onPress={submit} title="Add" />
      </View>
      <List />
    </>
  )
}
