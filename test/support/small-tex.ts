/** A specification of two pages and its description, which agree: drift tests doctor the text. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type DriftReport, driftOf } from '../../generator/drift/report.ts'
import { checkShapes, factsOf, resolve, SourceFile } from '../../generator/index.ts'
import { factsOfTex } from '../../generator/tex/index.ts'

export const smallTex: Readonly<Record<string, string>> = {
  'content.tex': String.raw`\chapter{Device Types}\label{sec:Device Types}

\begin{longtable} { |l|c| }
\hline
Device ID  &  Virtio Device    \\
\hline \hline
0          & reserved (invalid) \\
\hline
55         &   Lamp \\
\hline
56         &   Fan device \\ % has no chapter
\hline
\end{longtable}

\input{device-types/lamp/description.tex}
`,
  'device-types/lamp/description.tex': String.raw`\section{Lamp}\label{sec:Device Types / Lamp}

\subsection{Device ID}\label{sec:Device Types / Lamp / Device ID}
  55

\subsection{Virtqueues}\label{sec:Device Types / Lamp / Virtqueues}
\begin{description}
\item[0] lightq
\item[1] sensorq
\end{description}

The sensorq only exists if VIRTIO_LAMP_F_SENSOR is negotiated.

\subsection{Feature bits}\label{sec:Device Types / Lamp / Feature bits}
\begin{description}
\item[VIRTIO_LAMP_F_COLOUR (0)] The colour can be set.
\item[VIRTIO_LAMP_F_SENSOR(1)] There is a sensor. Requires VIRTIO_LAMP_F_COLOUR.
\end{description}

\subsection{Device configuration layout}\label{sec:Device Types / Lamp / Device configuration layout}
\begin{lstlisting}
struct virtio_lamp_config {
        le32 lamps;      /* read-only for driver */
        le16 colours[4]; /* Only if VIRTIO_LAMP_F_COLOUR negotiated */
        u8 mode;
};
\end{lstlisting}

The field \field{mode} takes 100\% of these values:
\begin{lstlisting}
#define VIRTIO_LAMP_MODE_ON    (1 << 0)
#define VIRTIO_LAMP_MODE_BLINK (1 << 1)
\end{lstlisting}

\subsection{Device Operation}\label{sec:Device Types / Lamp / Device Operation}
\begin{lstlisting}
enum virtio_lamp_command {
        VIRTIO_LAMP_CMD_ON = 0x0100,
        VIRTIO_LAMP_CMD_OFF,
        VIRTIO_LAMP_CMD_DIM
};

struct virtio_lamp_request {
        /* Device-readable part */
        le16 command;
        le16 {
                level : 12;
                channel : 4;
        } light;
        le64 deadline;
        /* Device-writable part */
        u8 status;
};

struct virtio_lamp_point {
        le16 x;
        le16 y;
};

struct virtio_lamp_line {
        struct virtio_lamp_point from;
        struct virtio_lamp_point to;
        le32 width;
};

struct virtio_lamp_name {
        le16 length;
        char name[length];
};
\end{lstlisting}

\begin{tabularx}{\textwidth}{ |l||l|X| }
\hline
Value & Name & Description \\
\hline
0x00 & VIRTIO_LAMP_S_OK & it burns \\
\hline
0x01 & \hyperref[sec:Device Types / Lamp]{VIRTIO_LAMP_S_BROKEN} & it does not \\
\hline
\end{tabularx}
`,
}

const yaml: Readonly<Record<string, string>> = {
  'common/content.yaml': `kind: common
name: content
title: Basics
devices:
  lamp: {id: 55, title: Lamp, linux: none}
  fan: {id: 56, title: Fan device, linux: none}
`,
  'device/lamp.yaml': `kind: device
name: lamp
title: Lamp
id: 55
features:
  VIRTIO_LAMP_F_COLOUR: 0
  VIRTIO_LAMP_F_SENSOR: {bit: 1, requires: VIRTIO_LAMP_F_COLOUR}
constants:
  virtio_lamp_mode:
    VIRTIO_LAMP_MODE_ON: 1
    VIRTIO_LAMP_MODE_BLINK: 2
  virtio_lamp_command:
    VIRTIO_LAMP_CMD_ON: 0x0100
    VIRTIO_LAMP_CMD_OFF: 0x0101
    VIRTIO_LAMP_CMD_DIM: 0x0102
  virtio_lamp_status:
    VIRTIO_LAMP_S_OK: 0
    VIRTIO_LAMP_S_BROKEN: 1
config:
  virtio_lamp_config:
    fields:
      - lamps: le32
      - colours[4]: {type: le16, when: VIRTIO_LAMP_F_COLOUR}
      - mode: {type: u8, flags: virtio_lamp_mode}
structs:
  virtio_lamp_request:
    readable:
      - command: {type: le16, enum: virtio_lamp_command}
      - light: {type: le16, bits: [level: 12, channel: 4]}
      - deadline: {type: le64, unit: ns}
    writable:
      - status: {type: u8, enum: virtio_lamp_status}
  virtio_lamp_point:
    fields:
      - x: le16
      - y: le16
  virtio_lamp_line:
    fields:
      - from: virtio_lamp_point
      - to: virtio_lamp_point
      - width: le32
  virtio_lamp_name:
    fields:
      - length: le16
      - name[length]: char
queues:
  - lightq: {index: 0}
  - sensorq: {index: 1, when: VIRTIO_LAMP_F_SENSOR}
`,
}

export type Doctor = (files: Record<string, string>) => void

/** Replaces some words of a file, which must be there once. */
export function replaced(path: 'content.tex' | 'lamp', from: string, to: string): Doctor {
  return (files) => {
    const name = path === 'lamp' ? 'device-types/lamp/description.tex' : path
    const text = files[name] as string
    if (text.split(from).length !== 2) throw new Error(`"${from}" does not stand in ${path} once`)
    files[name] = text.replace(from, () => to)
  }
}

/** Writes files into a folder, which is gone afterwards. */
export function inFolder<T>(files: Readonly<Record<string, string>>, use: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'virtgen-tex-'))
  const remove = (): void => rmSync(folder, { recursive: true, force: true })
  let result: T | undefined
  try {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), text)
    }
    result = use(folder)
    return result
  } finally {
    if (result instanceof Promise) void result.finally(remove)
    else remove()
  }
}

/** The small description held against the doctored text. */
export function driftFrom(doctors: readonly Doctor[], errata = ''): DriftReport {
  const files = { ...smallTex }
  for (const doctor of doctors) doctor(files)
  return inFolder(files, (folder) => {
    const tex = factsOfTex(folder)
    const texts: Record<string, string> = { ...yaml, 'device/lamp.yaml': yaml['device/lamp.yaml'] + errata }
    const sources = Object.entries(texts).map(([path, text]) => new SourceFile(path, path, text, true))
    const { model, problems } = resolve(checkShapes(sources))
    if (problems.length > 0) throw new Error(problems.map(({ message }) => message).join('\n'))
    const textOf = (scope: string) => {
      const file = scope === 'content' ? 'common/content.yaml' : `device/${scope}.yaml`
      const text = texts[file]
      return text === undefined ? undefined : { file, text }
    }
    return driftOf(factsOf(model), { name: 'the small text', facts: tex.facts, tex }, { textOf })
  })
}

/** What a report says, short: `+ feature VIRTIO_X: bit 3`, and what could not be read. */
export function said({ differences, unread }: DriftReport): string[] {
  const marks = { missing: '+', changed: '~', extra: '-' }
  return [
    ...differences.map(({ kind, item, name, aspect, yaml: ours, there }) => {
      const about = kind === 'changed' ? `${aspect} ${ours} → ${there}` : (there ?? ours)
      return `${marks[kind]} ${item} ${name}: ${about}`
    }),
    ...unread.map(({ why, line }) => `? line ${line}: ${why}`),
  ]
}
