/** A condition in the specification's names: what a `let` stands for is written out. */
import { evaluate, nodes, programIsSilent } from './evaluate.ts'
import type { Expression, Tree } from './model.ts'

export function conditionText({ text, tree }: Expression): string {
  const written = new Set(text.match(/[A-Za-z_]\w*/g) ?? [])
  const isComplete = [...nodes(tree)].every((node) => node.op !== 'feature' || written.has(node.name))
  return isComplete ? text : textOf(tree)
}

/** The same without what holds wherever the program says nothing: the condition of the text; undefined where nothing is left. */
export function textCondition(condition: Expression): string | undefined {
  const all = conjuncts(condition.tree)
  const left = all.filter((tree) => !evaluate(tree, programIsSilent))
  if (left.length === all.length) return conditionText(condition)
  return left.map((tree) => (left.length === 1 ? textOf(tree) : inner(tree))).join(' and ') || undefined
}

function conjuncts(tree: Tree): Tree[] {
  return tree.op === 'binary' && tree.operator === 'and' ? [...conjuncts(tree.left), ...conjuncts(tree.right)] : [tree]
}

function textOf(tree: Tree): string {
  switch (tree.op) {
    case 'number':
      return String(tree.value)
    case 'feature':
    case 'constant':
    case 'caller':
    case 'index':
      return tree.name
    case 'field':
      return [...(tree.from === 'config' || tree.from === 'readable' ? [tree.from] : []), ...tree.path].join('.')
    case 'queue':
      return `queue.${tree.property}`
    case 'sizeof':
      return `sizeof(${tree.struct.name})`
    case 'not':
      return `not ${inner(tree.arg)}`
    case 'binary': {
      const operand = (side: Tree): string => (side.op === 'binary' && side.operator === tree.operator ? textOf(side) : inner(side))
      return `${operand(tree.left)} ${tree.operator} ${operand(tree.right)}`
    }
    case 'if': {
      const otherwise = tree.otherwise === undefined ? '' : ` else ${inner(tree.otherwise)}`
      return `${inner(tree.value)} if ${inner(tree.condition)}${otherwise}`
    }
  }
}

function inner(tree: Tree): string {
  return tree.op === 'binary' || tree.op === 'if' ? `(${textOf(tree)})` : textOf(tree)
}
