/* The messages of servers. */
#include "proxy/wire/message_int.h"

#include <string.h>

/* Bytes of SASL mechanism names up to the empty one; PV_PROTOCOL unless that ends the body. */
static enum pv_status
mechanisms_check(struct pv_slice list)
{
    struct pv_reader reader = pv_reader_of(list);
    struct pv_slice name;

    do {
        if (pv_read_cstr(&reader, &name) != PV_OK)
            return PV_PROTOCOL;
    } while (name.len > 0);
    return pv_read_end(&reader);
}

enum pv_status
pv_msg_auth_read(struct pv_slice body, struct pv_msg_auth *auth)
{
    struct pv_reader reader = pv_reader_of(body);
    struct pv_slice data;
    uint32_t kind;

    if (pv_read_u32(&reader, &kind) != PV_OK || pv_read_slice(&reader, reader.left, &data) != PV_OK)
        return PV_PROTOCOL;
    switch (kind) {
    case PV_AUTH_OK:
    case PV_AUTH_CLEARTEXT:
        if (data.len != 0)
            return PV_PROTOCOL;
        break;
    case PV_AUTH_MD5:
        if (data.len != 4)
            return PV_PROTOCOL;
        break;
    case PV_AUTH_SASL:
        if (mechanisms_check(data) != PV_OK)
            return PV_PROTOCOL;
        break;
    case PV_AUTH_SASL_CONTINUE:
    case PV_AUTH_SASL_FINAL:
        break;
    default:
        return PV_INVALID;
    }
    *auth = (struct pv_msg_auth){.kind = (enum pv_msg_auth_kind) kind, .data = data};
    return PV_OK;
}

enum pv_status
pv_msg_auth_write(struct pv_buf *out, const struct pv_msg_auth *auth)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, PV_SERVER_AUTHENTICATION);

    pv_assert(auth->kind != PV_AUTH_SASL);
    if (auth->kind == PV_AUTH_MD5 && auth->data.len != 4)
        writer.is_invalid = true;
    if ((auth->kind == PV_AUTH_OK || auth->kind == PV_AUTH_CLEARTEXT) && auth->data.len != 0)
        writer.is_invalid = true;
    pv_buf_put_u32(out, (uint32_t) auth->kind);
    pv_buf_put_slice(out, auth->data);
    return pv_msg_writer_end(&writer);
}

enum pv_status
pv_msg_auth_sasl_write(struct pv_buf *out, const char *const *mechanisms, size_t mechanism_count)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, PV_SERVER_AUTHENTICATION);

    pv_buf_put_u32(out, PV_AUTH_SASL);
    for (size_t i = 0; i < mechanism_count; i++)
        pv_msg_put_cstr(&writer, pv_slice_cstr(mechanisms[i]));
    pv_buf_put_u8(out, 0);
    return pv_msg_writer_end(&writer);
}

bool
pv_msg_auth_offers(const struct pv_msg_auth *auth, const char *mechanism)
{
    struct pv_reader reader = pv_reader_of(auth->data);
    struct pv_slice name;

    if (auth->kind != PV_AUTH_SASL)
        return false;
    while (pv_read_cstr(&reader, &name) == PV_OK && name.len > 0)
        if (pv_slice_is(name, mechanism))
            return true;
    return false;
}

enum pv_status
pv_msg_parameter_status_read(struct pv_slice body, struct pv_msg_parameter_status *status)
{
    struct pv_reader reader = pv_reader_of(body);
    struct pv_msg_parameter_status found;

    if (pv_read_cstr(&reader, &found.name) != PV_OK || pv_read_cstr(&reader, &found.value) != PV_OK ||
        pv_read_end(&reader) != PV_OK)
        return PV_PROTOCOL;
    *status = found;
    return PV_OK;
}

enum pv_status
pv_msg_parameter_status_write(struct pv_buf *out, const struct pv_msg_parameter_status *status)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, PV_SERVER_PARAMETER_STATUS);

    pv_msg_put_cstr(&writer, status->name);
    pv_msg_put_cstr(&writer, status->value);
    return pv_msg_writer_end(&writer);
}

enum pv_status
pv_msg_backend_key_read(struct pv_slice body, struct pv_msg_backend_key *key)
{
    struct pv_reader reader = pv_reader_of(body);
    struct pv_msg_backend_key found;

    if (pv_read_u32(&reader, &found.pid) != PV_OK || pv_read_slice(&reader, reader.left, &found.key) != PV_OK)
        return PV_PROTOCOL;
    if (found.key.len < PV_CANCEL_KEY_BYTES_MIN || found.key.len > PV_CANCEL_KEY_BYTES_MAX)
        return PV_PROTOCOL;
    *key = found;
    return PV_OK;
}

enum pv_status
pv_msg_backend_key_write(struct pv_buf *out, const struct pv_msg_backend_key *key)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, PV_SERVER_BACKEND_KEY_DATA);

    writer.is_invalid = key->key.len < PV_CANCEL_KEY_BYTES_MIN || key->key.len > PV_CANCEL_KEY_BYTES_MAX;
    pv_buf_put_u32(out, key->pid);
    pv_buf_put_slice(out, key->key);
    return pv_msg_writer_end(&writer);
}

static bool
is_transaction_status(uint8_t byte)
{
    return byte == 'I' || byte == 'T' || byte == 'E';
}

enum pv_status
pv_msg_ready_read(struct pv_slice body, uint8_t *transaction)
{
    if (body.len != 1 || !is_transaction_status(body.data[0]))
        return PV_PROTOCOL;
    *transaction = body.data[0];
    return PV_OK;
}

enum pv_status
pv_msg_ready_write(struct pv_buf *out, uint8_t transaction)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, PV_SERVER_READY_FOR_QUERY);

    writer.is_invalid = !is_transaction_status(transaction);
    pv_buf_put_u8(out, transaction);
    return pv_msg_writer_end(&writer);
}

static const uint8_t notice_codes[PV_NOTICE_FIELD_COUNT] = {
#define PV_X(name, code) [PV_NOTICE_##name] = code,
    PV_NOTICE_FIELDS(PV_X)
#undef PV_X
};

enum pv_status
pv_msg_notice_read(struct pv_slice body, struct pv_msg_notice *notice)
{
    struct pv_reader reader = pv_reader_of(body);
    struct pv_msg_notice found = {0};

    for (;;) {
        uint8_t code;
        struct pv_slice text;

        if (pv_read_u8(&reader, &code) != PV_OK)
            return PV_PROTOCOL;
        if (code == 0)
            break;
        if (pv_read_cstr(&reader, &text) != PV_OK)
            return PV_PROTOCOL;
        for (size_t i = 0; i < PV_NOTICE_FIELD_COUNT; i++)
            if (notice_codes[i] == code)
                found.fields[i] = text;
    }
    if (pv_read_end(&reader) != PV_OK)
        return PV_PROTOCOL;
    *notice = found;
    return PV_OK;
}

enum pv_status
pv_msg_notice_write(struct pv_buf *out, enum pv_server_tag tag, const struct pv_msg_notice *notice)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, (uint8_t) tag);

    pv_assert(tag == PV_SERVER_ERROR_RESPONSE || tag == PV_SERVER_NOTICE_RESPONSE);
    for (size_t i = 0; i < PV_NOTICE_FIELD_COUNT; i++) {
        if (notice->fields[i].data == NULL)
            continue;
        pv_buf_put_u8(out, notice_codes[i]);
        pv_msg_put_cstr(&writer, notice->fields[i]);
    }
    pv_buf_put_u8(out, 0);
    return pv_msg_writer_end(&writer);
}

void
pv_msg_notice_set(struct pv_msg_notice *notice, enum pv_msg_notice_field field, const char *text)
{
    notice->fields[field] = text == NULL ? pv_slice_of(NULL, 0) : pv_slice_cstr(text);
}

void
pv_msg_notice_init(struct pv_msg_notice *notice, const char *severity, const char *sqlstate, const char *message)
{
    memset(notice, 0, sizeof(*notice));
    pv_msg_notice_set(notice, PV_NOTICE_SEVERITY, severity);
    pv_msg_notice_set(notice, PV_NOTICE_SEVERITY_PLAIN, severity);
    pv_msg_notice_set(notice, PV_NOTICE_SQLSTATE, sqlstate);
    pv_msg_notice_set(notice, PV_NOTICE_MESSAGE, message);
}

static enum pv_status
field_read(struct pv_reader *reader, struct pv_msg_field *field)
{
    if (pv_read_cstr(reader, &field->name) != PV_OK || pv_read_u32(reader, &field->table_oid) != PV_OK ||
        pv_read_i16(reader, &field->column_number) != PV_OK || pv_read_u32(reader, &field->type_oid) != PV_OK ||
        pv_read_i16(reader, &field->type_len) != PV_OK || pv_read_i32(reader, &field->type_modifier) != PV_OK ||
        pv_read_u16(reader, &field->format) != PV_OK)
        return PV_PROTOCOL;
    return field->format <= 1 ? PV_OK : PV_PROTOCOL;
}

enum pv_status
pv_msg_row_description_read(struct pv_slice body, struct pv_arena *arena, struct pv_msg_row_description *description)
{
    struct pv_reader reader = pv_reader_of(body);
    struct pv_msg_field *fields;
    size_t count;
    void *room;
    /* An empty name's NUL and six numbers. */
    enum pv_status status = pv_msg_read_array(&reader, arena, 1 + 18, sizeof(*fields), &count, &room);

    if (status != PV_OK)
        return status;
    fields = room;
    for (size_t i = 0; i < count; i++)
        if (field_read(&reader, &fields[i]) != PV_OK)
            return PV_PROTOCOL;
    if (pv_read_end(&reader) != PV_OK)
        return PV_PROTOCOL;
    *description = (struct pv_msg_row_description){.field_count = count, .fields = fields};
    return PV_OK;
}

enum pv_status
pv_msg_row_description_write(struct pv_buf *out, const struct pv_msg_row_description *description)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, PV_SERVER_ROW_DESCRIPTION);

    pv_msg_put_count(&writer, description->field_count);
    for (size_t i = 0; i < description->field_count && !writer.is_invalid; i++) {
        const struct pv_msg_field *field = &description->fields[i];

        if (field->format > 1)
            writer.is_invalid = true;
        pv_msg_put_cstr(&writer, field->name);
        pv_buf_put_u32(out, field->table_oid);
        pv_buf_put_u16(out, (uint16_t) field->column_number);
        pv_buf_put_u32(out, field->type_oid);
        pv_buf_put_u16(out, (uint16_t) field->type_len);
        pv_buf_put_u32(out, (uint32_t) field->type_modifier);
        pv_buf_put_u16(out, field->format);
    }
    return pv_msg_writer_end(&writer);
}

enum pv_status
pv_msg_data_row_read(struct pv_slice body, struct pv_msg_value *columns, size_t column_count_max, size_t *column_count)
{
    struct pv_reader reader = pv_reader_of(body);
    uint16_t count;

    if (pv_read_u16(&reader, &count) != PV_OK)
        return PV_PROTOCOL;
    if (count > column_count_max)
        return PV_LIMIT;
    for (size_t i = 0; i < count; i++)
        if (pv_msg_read_value(&reader, &columns[i]) != PV_OK)
            return PV_PROTOCOL;
    if (pv_read_end(&reader) != PV_OK)
        return PV_PROTOCOL;
    *column_count = count;
    return PV_OK;
}

enum pv_status
pv_msg_data_row_write(struct pv_buf *out, const struct pv_msg_value *columns, size_t column_count)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, PV_SERVER_DATA_ROW);

    pv_msg_put_count(&writer, column_count);
    for (size_t i = 0; i < column_count && !writer.is_invalid; i++)
        pv_msg_put_value(&writer, &columns[i]);
    return pv_msg_writer_end(&writer);
}

enum pv_status
pv_msg_command_rows(struct pv_slice text, uint64_t *row_count)
{
    size_t at = text.len;
    uint64_t number = 0;

    while (at > 0 && text.data[at - 1] != ' ')
        at--;
    if (at == 0 || at == text.len)
        return PV_NOTFOUND;
    for (; at < text.len; at++) {
        uint8_t digit = (uint8_t) (text.data[at] - '0');

        if (digit > 9 || number > (UINT64_MAX - digit) / 10)
            return PV_NOTFOUND;
        number = number * 10 + digit;
    }
    *row_count = number;
    return PV_OK;
}

enum pv_status
pv_msg_parameter_description_read(struct pv_slice body, struct pv_arena *arena,
                                  struct pv_msg_parameter_description *description)
{
    struct pv_reader reader = pv_reader_of(body);
    struct pv_msg_parameter_description found;
    enum pv_status status = pv_msg_read_oids(&reader, arena, &found.type_count, &found.types);

    if (status == PV_OK)
        status = pv_read_end(&reader);
    if (status == PV_OK)
        *description = found;
    return status;
}

enum pv_status
pv_msg_parameter_description_write(struct pv_buf *out, const struct pv_msg_parameter_description *description)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, PV_SERVER_PARAMETER_DESCRIPTION);

    pv_msg_put_oids(&writer, description->types, description->type_count);
    return pv_msg_writer_end(&writer);
}

static bool
copy_formats_fit(const struct pv_msg_copy_response *response)
{
    if (response->format > 1)
        return false;
    for (size_t i = 0; i < response->column_count; i++)
        if (response->formats[i] > response->format)
            return false;
    return true;
}

enum pv_status
pv_msg_copy_response_read(struct pv_slice body, struct pv_arena *arena, struct pv_msg_copy_response *response)
{
    struct pv_reader reader = pv_reader_of(body);
    struct pv_msg_copy_response found;
    enum pv_status status;

    if (pv_read_u8(&reader, &found.format) != PV_OK)
        return PV_PROTOCOL;
    status = pv_msg_read_formats(&reader, arena, &found.column_count, &found.formats);
    if (status != PV_OK)
        return status == PV_NOMEM ? PV_NOMEM : PV_PROTOCOL;
    if (pv_read_end(&reader) != PV_OK || !copy_formats_fit(&found))
        return PV_PROTOCOL;
    *response = found;
    return PV_OK;
}

enum pv_status
pv_msg_copy_response_write(struct pv_buf *out, enum pv_server_tag tag, const struct pv_msg_copy_response *response)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, (uint8_t) tag);

    pv_assert(tag == PV_SERVER_COPY_OUT_RESPONSE || tag == PV_SERVER_COPY_IN_RESPONSE ||
              tag == PV_SERVER_COPY_BOTH_RESPONSE);
    writer.is_invalid = !copy_formats_fit(response);
    pv_buf_put_u8(out, response->format);
    pv_msg_put_formats(&writer, response->formats, response->column_count);
    return pv_msg_writer_end(&writer);
}

enum pv_status
pv_msg_notification_read(struct pv_slice body, struct pv_msg_notification *notification)
{
    struct pv_reader reader = pv_reader_of(body);
    struct pv_msg_notification found;

    if (pv_read_u32(&reader, &found.pid) != PV_OK || pv_read_cstr(&reader, &found.channel) != PV_OK ||
        pv_read_cstr(&reader, &found.payload) != PV_OK || pv_read_end(&reader) != PV_OK)
        return PV_PROTOCOL;
    *notification = found;
    return PV_OK;
}

enum pv_status
pv_msg_notification_write(struct pv_buf *out, const struct pv_msg_notification *notification)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, PV_SERVER_NOTIFICATION);

    pv_buf_put_u32(out, notification->pid);
    pv_msg_put_cstr(&writer, notification->channel);
    pv_msg_put_cstr(&writer, notification->payload);
    return pv_msg_writer_end(&writer);
}

enum pv_status
pv_msg_negotiate_read(struct pv_slice body, struct pv_arena *arena, struct pv_msg_negotiate *negotiate)
{
    struct pv_reader reader = pv_reader_of(body);
    struct pv_slice *options;
    uint32_t version;
    uint32_t count;

    if (pv_read_u32(&reader, &version) != PV_OK || pv_read_u32(&reader, &count) != PV_OK)
        return PV_PROTOCOL;
    /* More options than one startup packet of ours can have asked for. */
    if (count > PV_STARTUP_PARAMS_MAX)
        return PV_PROTOCOL;
    options = pv_arena_alloc(arena, ((size_t) count + 1) * sizeof(*options));
    if (options == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < count; i++)
        if (pv_read_cstr(&reader, &options[i]) != PV_OK)
            return PV_PROTOCOL;
    if (pv_read_end(&reader) != PV_OK)
        return PV_PROTOCOL;
    *negotiate = (struct pv_msg_negotiate){.version = version, .option_count = count, .options = options};
    return PV_OK;
}

enum pv_status
pv_msg_negotiate_write(struct pv_buf *out, const struct pv_msg_negotiate *negotiate)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, PV_SERVER_NEGOTIATE_PROTOCOL_VERSION);

    writer.is_invalid = negotiate->option_count > PV_STARTUP_PARAMS_MAX;
    pv_buf_put_u32(out, negotiate->version);
    pv_buf_put_u32(out, (uint32_t) negotiate->option_count);
    for (size_t i = 0; i < negotiate->option_count; i++)
        pv_msg_put_cstr(&writer, negotiate->options[i]);
    return pv_msg_writer_end(&writer);
}
