/* For this folder's message_*.c alone: pieces that several messages share. */
#ifndef PV_MESSAGE_INT_H
#define PV_MESSAGE_INT_H

#include "proxy/wire/message.h"

/*
 * A frame while it is written. Begin notes where the buffer stood; the pieces note
 * what no frame can carry; end sets the length, or puts the buffer back.
 */
struct pv_msg_writer {
    struct pv_buf *out;
    size_t start;     /* pv_buf_len before the frame */
    size_t length_at; /* offset of the length field */
    bool is_invalid;
};

struct pv_msg_writer pv_msg_writer_begin(struct pv_buf *out, uint8_t tag); /* 0: a startup packet, without tag */
enum pv_status pv_msg_writer_end(struct pv_msg_writer *writer) PV_MUST_CHECK;
void pv_msg_put_cstr(struct pv_msg_writer *writer, struct pv_slice text);
void pv_msg_put_count(struct pv_msg_writer *writer, size_t count); /* Int16 */
void pv_msg_put_value(struct pv_msg_writer *writer, const struct pv_msg_value *value);
void pv_msg_put_formats(struct pv_msg_writer *writer, const uint16_t *formats, size_t count);
void pv_msg_put_oids(struct pv_msg_writer *writer, const uint32_t *oids, size_t count);

/*
 * Int16 count and room for it: an array of `item_size` bytes an item, zeroed, after
 * making sure that the body holds at least `wire_size` bytes for each.
 */
enum pv_status pv_msg_read_array(struct pv_reader *reader, struct pv_arena *arena, size_t wire_size, size_t item_size,
                                 size_t *count, void **items) PV_MUST_CHECK;
enum pv_status pv_msg_read_formats(struct pv_reader *reader, struct pv_arena *arena, size_t *count,
                                   const uint16_t **formats) PV_MUST_CHECK;
enum pv_status pv_msg_read_oids(struct pv_reader *reader, struct pv_arena *arena, size_t *count,
                                const uint32_t **oids) PV_MUST_CHECK;
/* Int32 length, -1 for NULL, and the bytes. */
enum pv_status pv_msg_read_value(struct pv_reader *reader, struct pv_msg_value *value) PV_MUST_CHECK;

#endif
