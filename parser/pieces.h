/*
 * A statement printed and checked once, with holes where values and output names stand, so that one of its kind is
 * pieces and tokens put together.
 *
 * 1. What is filled parses to the tree that was printed, with the fillings in its holes. The pieces are what
 *    pv_print_checked found equal to the tree, cut where a mark was the whole text of a string constant or of a quoted
 *    name. A filling is one token of the same place in the grammar, whatever it holds: a string constant, NULL or $n
 *    (each alone an expression, between parentheses or words of ours), a name behind AS. The grammar looks at tokens'
 *    kinds, not at what constants and names hold.
 * 2. A token is put only where it reads back: it is valid UTF-8 without NUL, and scanned as PostgreSQL's scanner does
 *    under standard_conforming_strings = on, it ends where it ends and gives the text that was meant. Names are not empty
 *    and shorter than NAMEDATALEN, so that none is cut off.
 */
#ifndef PV_PIECES_H
#define PV_PIECES_H

#include "proxy/base/arena.h"
#include "proxy/base/base.h"

enum pv_hole { PV_HOLE_NONE, PV_HOLE_VALUE, PV_HOLE_NAME };

/* Text, then a hole; the last has none. */
struct pv_piece {
    struct pv_slice text;
    enum pv_hole hole;
    unsigned index; /* which value, which name */
};

struct pv_pieces {
    const struct pv_piece *items;
    size_t count; /* 0: there are none */
};

/* What stands in a hole for a value: $number; or with 0 a string constant; text NULL: NULL. */
struct pv_filling {
    const char *text;
    int number;
};

/* The string constant or the name that stands for a hole in a text that will be cut. */
#define PV_HOLE_MARK_SIZE 24u
void pv_hole_mark(enum pv_hole hole, unsigned index, char mark[PV_HOLE_MARK_SIZE]);

/*
 * Cuts a text that pv_print_checked gave of a tree with marks in it; copies into the arena. PV_NOTFOUND: something that
 * is no mark looks like one, or there are not as many holes as said; PV_NOMEM.
 */
enum pv_status pv_pieces_cut(struct pv_arena *arena, struct pv_slice marked, size_t hole_count,
                             struct pv_pieces *pieces) PV_MUST_CHECK;

/*
 * The text with values[i] and names[i] in the holes of index i. PV_NOTFOUND: one of them is not a token that reads
 * back; PV_NOMEM.
 */
enum pv_status pv_pieces_fill(struct pv_arena *arena, const struct pv_pieces *pieces, const struct pv_filling *values,
                              const char *const *names, const char **text) PV_MUST_CHECK;

#endif
