#include "proxy/net/world.h"

#include "policy/standing.h"
#include "proxy/crypto/tls.h"

#include <stdatomic.h>

struct pv_world {
    _Atomic uint32_t refs;
    struct pv_policy *policy;
    struct pv_standing *standing;
    struct pv_tls_context *server_tls;
    struct pv_tls_context **upstream_tls; /* by the upstream's index */
};

static bool
make_server_tls(struct pv_world *world, struct pv_faults *faults)
{
    const struct pv_config *config = &world->policy->config;
    const struct pv_tls_server_options options = {config->tls_cert, config->tls_key, config->tls_client_ca, false};
    char words[256];

    if (!config->has_tls)
        return true;
    if (pv_tls_server_context_new(&options, &world->server_tls, words, sizeof(words)) == PV_OK)
        return true;
    pv_faults_add(faults, config->path, 1, 1, false, "tls: %s", words);
    return false;
}

static bool
make_upstream_tls(struct pv_world *world, size_t i, struct pv_faults *faults)
{
    static const enum pv_tls_mode modes[] = {
        [PV_SSL_DISABLE] = PV_TLS_DISABLE,
        [PV_SSL_REQUIRE] = PV_TLS_REQUIRE,
        [PV_SSL_VERIFY_CA] = PV_TLS_VERIFY_CA,
        [PV_SSL_VERIFY_FULL] = PV_TLS_VERIFY_FULL,
    };
    const struct pv_upstream *upstream = &world->policy->config.upstreams[i];
    const struct pv_tls_client_options options = {modes[upstream->sslmode], upstream->sslrootcert, upstream->sslcert,
                                                  upstream->sslkey};
    bool is_tcp = false;
    char words[256];

    for (size_t at = 0; at < upstream->host_count; at++)
        is_tcp = is_tcp || upstream->hosts[at].name[0] != '/';
    /* Over a Unix socket there is no TLS, whatever sslmode says: nothing to verify there (libpq does the same). */
    if (upstream->sslmode == PV_SSL_DISABLE || !is_tcp)
        return true;
    if (pv_tls_client_context_new(&options, &world->upstream_tls[i], words, sizeof(words)) == PV_OK)
        return true;
    pv_faults_add(faults, world->policy->config.path, 1, 1, false, "upstream \"%s\": %s", upstream->name, words);
    return false;
}

static struct pv_world *
world_alloc(struct pv_policy *policy, struct pv_standing *standing)
{
    struct pv_world *made = pv_calloc(1, sizeof(*made));

    if (made == NULL)
        return NULL;
    atomic_store(&made->refs, 1);
    made->policy = pv_policy_ref(policy);
    made->standing = pv_standing_ref(standing);
    made->upstream_tls = pv_calloc(policy->config.upstream_count + 1, sizeof(*made->upstream_tls));
    if (made->upstream_tls == NULL) {
        pv_world_unref(made);
        return NULL;
    }
    return made;
}

enum pv_status
pv_world_new(struct pv_policy *policy, struct pv_standing *standing, struct pv_faults *faults,
             struct pv_world **world)
{
    struct pv_world *made = world_alloc(policy, standing);
    bool is_sound;

    if (made == NULL)
        return PV_NOMEM;
    is_sound = make_server_tls(made, faults);
    for (size_t i = 0; i < policy->config.upstream_count; i++)
        is_sound = make_upstream_tls(made, i, faults) && is_sound;
    if (!is_sound) {
        pv_world_unref(made);
        return PV_INVALID;
    }
    *world = made;
    return PV_OK;
}

struct pv_world *
pv_world_with_standing(struct pv_world *world, struct pv_standing *standing)
{
    struct pv_world *made = world_alloc(world->policy, standing);

    if (made == NULL)
        return NULL;
    made->server_tls = world->server_tls == NULL ? NULL : pv_tls_context_ref(world->server_tls);
    for (size_t i = 0; i < world->policy->config.upstream_count; i++)
        made->upstream_tls[i] = world->upstream_tls[i] == NULL ? NULL : pv_tls_context_ref(world->upstream_tls[i]);
    return made;
}

struct pv_world *
pv_world_ref(struct pv_world *world)
{
    (void) atomic_fetch_add(&world->refs, 1);
    return world;
}

void
pv_world_unref(struct pv_world *world)
{
    if (world == NULL || atomic_fetch_sub(&world->refs, 1) != 1)
        return;
    for (size_t i = 0; world->upstream_tls != NULL && i < world->policy->config.upstream_count; i++)
        pv_tls_context_unref(world->upstream_tls[i]);
    pv_free(world->upstream_tls);
    pv_tls_context_unref(world->server_tls);
    pv_standing_unref(world->standing);
    pv_policy_unref(world->policy);
    pv_free(world);
}

struct pv_policy *
pv_world_policy(const struct pv_world *world)
{
    return world->policy;
}

struct pv_standing *
pv_world_standing(const struct pv_world *world)
{
    return world->standing;
}

struct pv_tls_context *
pv_world_server_tls(const struct pv_world *world)
{
    return world->server_tls;
}

struct pv_tls_context *
pv_world_upstream_tls(const struct pv_world *world, const struct pv_upstream *upstream)
{
    const struct pv_config *config = &world->policy->config;

    pv_assert(upstream >= config->upstreams && upstream < config->upstreams + config->upstream_count);
    return world->upstream_tls[upstream - config->upstreams];
}
