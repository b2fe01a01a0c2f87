/** Where the map has surfaces, by cells: what points may lie on. World metres. */

import * as THREE from "three";

/** Three voxels: points closer than half of that to a surface lie on it, farther than one and a half they do not. */
const CELL_M = 0.15;
/** Cells go so far to both sides: three of the numbers fit into one that a double holds exactly. */
const REACH = 1 << 16;

export class Backing {
  private readonly cellsByTile = new Map<string, ReadonlySet<number>>();
  private readonly tilesByCell = new Map<number, number>();
  private readonly tilesByColumn = new Map<number, number>();

  /** The vertices of a tile's surface, in place of those it had; they are to lie closer than a cell. */
  set(tile: string, vertices: THREE.BufferAttribute, worldFromVertices: THREE.Matrix4): void {
    this.remove(tile);
    const cells = new Set<number>();
    const at = new THREE.Vector3();
    for (let i = 0; i < vertices.count; i += 1) {
      at.fromBufferAttribute(vertices, i).applyMatrix4(worldFromVertices);
      cells.add(cellOf(at.x, at.y, at.z));
    }
    this.cellsByTile.set(tile, cells);
    for (const cell of cells) count(this.tilesByCell, cell, 1);
    for (const column of columnsOf(cells)) count(this.tilesByColumn, column, 1);
  }

  remove(tile: string): void {
    const cells = this.cellsByTile.get(tile) ?? new Set();
    this.cellsByTile.delete(tile);
    for (const cell of cells) count(this.tilesByCell, cell, -1);
    for (const column of columnsOf(cells)) count(this.tilesByColumn, column, -1);
  }

  clear(): void {
    for (const tile of [...this.cellsByTile.keys()]) this.remove(tile);
  }

  /** Whether the map knows a surface above or below this place, and none near it: what was seen here has gone. */
  isBare(x: number, y: number, z: number): boolean {
    if (!this.tilesByColumn.has(columnOf(cellOf(x, y, z)))) return false;
    const half = CELL_M / 2;
    for (const dx of [-half, half]) {
      for (const dy of [-half, half]) {
        for (const dz of [-half, half]) if (this.tilesByCell.has(cellOf(x + dx, y + dy, z + dz))) return false;
      }
    }
    return true;
  }
}

function cellOf(x: number, y: number, z: number): number {
  const column = (Math.floor(x / CELL_M) + REACH) * 2 * REACH + Math.floor(z / CELL_M) + REACH;
  return column * 2 * REACH + Math.floor(y / CELL_M) + REACH;
}

function columnOf(cell: number): number {
  return Math.floor(cell / (2 * REACH));
}

function columnsOf(cells: ReadonlySet<number>): Set<number> {
  return new Set([...cells].map(columnOf));
}

function count(numbers: Map<number, number>, key: number, change: 1 | -1): void {
  const number = (numbers.get(key) ?? 0) + change;
  if (number > 0) numbers.set(key, number);
  else numbers.delete(key);
}
