/* Startup packets and the messages of clients. */
#include "proxy/wire/message_int.h"

/* Request codes in the place of a version: major 1234, which no protocol will ever have. */
#define CANCEL_CODE 80877102u
#define SSL_CODE 80877103u
#define GSSENC_CODE 80877104u

enum pv_status
pv_msg_startup_kind_read(struct pv_slice body, enum pv_msg_startup_kind *kind, uint32_t *code)
{
    struct pv_reader reader = pv_reader_of(body);
    uint32_t found;

    if (pv_read_u32(&reader, &found) != PV_OK)
        return PV_PROTOCOL;
    if (found == SSL_CODE || found == GSSENC_CODE) {
        if (pv_read_end(&reader) != PV_OK)
            return PV_PROTOCOL;
        *kind = found == SSL_CODE ? PV_STARTUP_SSL : PV_STARTUP_GSSENC;
    } else if (found == CANCEL_CODE)
        *kind = PV_STARTUP_CANCEL;
    else
        *kind = found >> 16 == 3 ? PV_STARTUP_SESSION : PV_STARTUP_UNSUPPORTED;
    *code = found;
    return PV_OK;
}

static bool
startup_has(const struct pv_msg_startup_param *params, size_t count, struct pv_slice name)
{
    for (size_t i = 0; i < count; i++)
        if (pv_slice_equal(params[i].name, name))
            return true;
    return false;
}

/* Pairs up to the empty name that ends them, into an array of PV_STARTUP_PARAMS_MAX. */
static enum pv_status
startup_params_read(struct pv_reader *reader, struct pv_msg_startup_param *params, size_t *count)
{
    struct pv_msg_startup_param param;

    for (*count = 0;; (*count)++) {
        if (pv_read_cstr(reader, &param.name) != PV_OK)
            return PV_PROTOCOL;
        if (param.name.len == 0)
            return pv_read_end(reader);
        if (pv_read_cstr(reader, &param.value) != PV_OK || startup_has(params, *count, param.name))
            return PV_PROTOCOL;
        if (*count == PV_STARTUP_PARAMS_MAX)
            return PV_LIMIT;
        params[*count] = param;
    }
}

enum pv_status
pv_msg_startup_read(struct pv_slice body, struct pv_arena *arena, struct pv_msg_startup *startup)
{
    struct pv_reader reader = pv_reader_of(body);
    struct pv_msg_startup_param params[PV_STARTUP_PARAMS_MAX];
    struct pv_msg_startup_param *kept;
    uint32_t version;
    size_t count;
    enum pv_status status;

    if (pv_read_u32(&reader, &version) != PV_OK || version >> 16 != 3)
        return PV_PROTOCOL;
    status = startup_params_read(&reader, params, &count);
    if (status != PV_OK)
        return status;
    kept = pv_arena_alloc(arena, (count + 1) * sizeof(*kept));
    if (kept == NULL)
        return PV_NOMEM;
    for (size_t i = 0; i < count; i++)
        kept[i] = params[i];
    *startup = (struct pv_msg_startup){.version = version, .param_count = count, .params = kept};
    return PV_OK;
}

enum pv_status
pv_msg_startup_write(struct pv_buf *out, const struct pv_msg_startup *startup)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, 0);

    pv_buf_put_u32(out, startup->version);
    for (size_t i = 0; i < startup->param_count; i++) {
        /* An empty name would end the list early and leave the rest behind it. */
        if (startup->params[i].name.len == 0)
            writer.is_invalid = true;
        pv_msg_put_cstr(&writer, startup->params[i].name);
        pv_msg_put_cstr(&writer, startup->params[i].value);
    }
    pv_buf_put_u8(out, 0);
    return pv_msg_writer_end(&writer);
}

const struct pv_slice *
pv_msg_startup_get(const struct pv_msg_startup *startup, const char *name)
{
    for (size_t i = 0; i < startup->param_count; i++)
        if (pv_slice_is(startup->params[i].name, name))
            return &startup->params[i].value;
    return NULL;
}

static bool
cancel_key_fits(struct pv_slice key)
{
    return key.len >= PV_CANCEL_KEY_BYTES_MIN && key.len <= PV_CANCEL_KEY_BYTES_MAX;
}

enum pv_status
pv_msg_cancel_read(struct pv_slice body, struct pv_msg_cancel *cancel)
{
    struct pv_reader reader = pv_reader_of(body);
    struct pv_msg_cancel found;
    uint32_t code;

    if (pv_read_u32(&reader, &code) != PV_OK || code != CANCEL_CODE)
        return PV_PROTOCOL;
    if (pv_read_u32(&reader, &found.pid) != PV_OK || pv_read_slice(&reader, reader.left, &found.key) != PV_OK ||
        !cancel_key_fits(found.key))
        return PV_PROTOCOL;
    *cancel = found;
    return PV_OK;
}

enum pv_status
pv_msg_cancel_write(struct pv_buf *out, const struct pv_msg_cancel *cancel)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, 0);

    writer.is_invalid = !cancel_key_fits(cancel->key);
    pv_buf_put_u32(out, CANCEL_CODE);
    pv_buf_put_u32(out, cancel->pid);
    pv_buf_put_slice(out, cancel->key);
    return pv_msg_writer_end(&writer);
}

static enum pv_status
request_write(struct pv_buf *out, uint32_t code)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, 0);

    pv_buf_put_u32(out, code);
    return pv_msg_writer_end(&writer);
}

enum pv_status
pv_msg_ssl_request_write(struct pv_buf *out)
{
    return request_write(out, SSL_CODE);
}

enum pv_status
pv_msg_gssenc_request_write(struct pv_buf *out)
{
    return request_write(out, GSSENC_CODE);
}

enum pv_status
pv_msg_parse_read(struct pv_slice body, struct pv_arena *arena, struct pv_msg_parse *parse)
{
    struct pv_reader reader = pv_reader_of(body);
    struct pv_msg_parse found;
    enum pv_status status;

    if (pv_read_cstr(&reader, &found.statement) != PV_OK || pv_read_cstr(&reader, &found.text) != PV_OK)
        return PV_PROTOCOL;
    status = pv_msg_read_oids(&reader, arena, &found.type_count, &found.types);
    if (status != PV_OK)
        return status;
    if (pv_read_end(&reader) != PV_OK)
        return PV_PROTOCOL;
    *parse = found;
    return PV_OK;
}

enum pv_status
pv_msg_parse_write(struct pv_buf *out, const struct pv_msg_parse *parse)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, PV_CLIENT_PARSE);

    pv_msg_put_cstr(&writer, parse->statement);
    pv_msg_put_cstr(&writer, parse->text);
    pv_msg_put_oids(&writer, parse->types, parse->type_count);
    return pv_msg_writer_end(&writer);
}

static bool
bind_formats_fit(const struct pv_msg_bind *bind)
{
    return bind->format_count <= 1 || bind->format_count == bind->param_count;
}

static enum pv_status
bind_params_read(struct pv_reader *reader, struct pv_arena *arena, struct pv_msg_bind *bind)
{
    void *room;
    struct pv_msg_value *params;
    enum pv_status status = pv_msg_read_array(reader, arena, 4, sizeof(*params), &bind->param_count, &room);

    if (status != PV_OK)
        return status;
    params = room;
    for (size_t i = 0; i < bind->param_count; i++)
        if (pv_msg_read_value(reader, &params[i]) != PV_OK)
            return PV_PROTOCOL;
    bind->params = params;
    return PV_OK;
}

enum pv_status
pv_msg_bind_read(struct pv_slice body, struct pv_arena *arena, struct pv_msg_bind *bind)
{
    struct pv_reader reader = pv_reader_of(body);
    struct pv_msg_bind found;
    enum pv_status status;

    /* The portal stands before the statement, unlike in every other message's habit. */
    if (pv_read_cstr(&reader, &found.portal) != PV_OK || pv_read_cstr(&reader, &found.statement) != PV_OK)
        return PV_PROTOCOL;
    status = pv_msg_read_formats(&reader, arena, &found.format_count, &found.formats);
    if (status == PV_OK)
        status = bind_params_read(&reader, arena, &found);
    if (status == PV_OK && !bind_formats_fit(&found))
        status = PV_PROTOCOL;
    if (status == PV_OK)
        status = pv_msg_read_formats(&reader, arena, &found.result_format_count, &found.result_formats);
    if (status == PV_OK)
        status = pv_read_end(&reader);
    if (status == PV_OK)
        *bind = found;
    return status;
}

enum pv_status
pv_msg_bind_write(struct pv_buf *out, const struct pv_msg_bind *bind)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, PV_CLIENT_BIND);

    if (!bind_formats_fit(bind))
        writer.is_invalid = true;
    pv_msg_put_cstr(&writer, bind->portal);
    pv_msg_put_cstr(&writer, bind->statement);
    pv_msg_put_formats(&writer, bind->formats, bind->format_count);
    pv_msg_put_count(&writer, bind->param_count);
    for (size_t i = 0; i < bind->param_count && !writer.is_invalid; i++)
        pv_msg_put_value(&writer, &bind->params[i]);
    pv_msg_put_formats(&writer, bind->result_formats, bind->result_format_count);
    return pv_msg_writer_end(&writer);
}

uint16_t
pv_msg_bind_format(const struct pv_msg_bind *bind, size_t index)
{
    pv_assert(index < bind->param_count);
    if (bind->format_count == 0)
        return 0;
    return bind->formats[bind->format_count == 1 ? 0 : index];
}

enum pv_status
pv_msg_target_read(struct pv_slice body, struct pv_msg_target *target)
{
    struct pv_reader reader = pv_reader_of(body);
    uint8_t kind;
    struct pv_slice name;

    if (pv_read_u8(&reader, &kind) != PV_OK || (kind != PV_TARGET_STATEMENT && kind != PV_TARGET_PORTAL))
        return PV_PROTOCOL;
    if (pv_read_cstr(&reader, &name) != PV_OK || pv_read_end(&reader) != PV_OK)
        return PV_PROTOCOL;
    *target = (struct pv_msg_target){.kind = (enum pv_msg_target_kind) kind, .name = name};
    return PV_OK;
}

enum pv_status
pv_msg_target_write(struct pv_buf *out, enum pv_client_tag tag, const struct pv_msg_target *target)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, (uint8_t) tag);

    pv_assert(tag == PV_CLIENT_DESCRIBE || tag == PV_CLIENT_CLOSE);
    pv_buf_put_u8(out, (uint8_t) target->kind);
    pv_msg_put_cstr(&writer, target->name);
    return pv_msg_writer_end(&writer);
}

enum pv_status
pv_msg_execute_read(struct pv_slice body, struct pv_msg_execute *execute)
{
    struct pv_reader reader = pv_reader_of(body);
    struct pv_msg_execute found;

    if (pv_read_cstr(&reader, &found.portal) != PV_OK || pv_read_i32(&reader, &found.row_count_max) != PV_OK ||
        pv_read_end(&reader) != PV_OK)
        return PV_PROTOCOL;
    *execute = found;
    return PV_OK;
}

enum pv_status
pv_msg_execute_write(struct pv_buf *out, const struct pv_msg_execute *execute)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, PV_CLIENT_EXECUTE);

    pv_msg_put_cstr(&writer, execute->portal);
    pv_buf_put_u32(out, (uint32_t) execute->row_count_max);
    return pv_msg_writer_end(&writer);
}

enum pv_status
pv_msg_sasl_initial_read(struct pv_slice body, struct pv_msg_sasl_initial *initial)
{
    struct pv_reader reader = pv_reader_of(body);
    struct pv_slice mechanism;
    struct pv_msg_value data;

    if (pv_read_cstr(&reader, &mechanism) != PV_OK || pv_msg_read_value(&reader, &data) != PV_OK ||
        pv_read_end(&reader) != PV_OK)
        return PV_PROTOCOL;
    *initial = (struct pv_msg_sasl_initial){.mechanism = mechanism, .has_data = !data.is_null, .data = data.bytes};
    return PV_OK;
}

enum pv_status
pv_msg_sasl_initial_write(struct pv_buf *out, const struct pv_msg_sasl_initial *initial)
{
    struct pv_msg_writer writer = pv_msg_writer_begin(out, PV_CLIENT_PASSWORD);
    struct pv_msg_value data = {.is_null = !initial->has_data, .bytes = initial->data};

    pv_msg_put_cstr(&writer, initial->mechanism);
    pv_msg_put_value(&writer, &data);
    return pv_msg_writer_end(&writer);
}
