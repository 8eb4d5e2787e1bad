/*
 * The judgement that a service uses. In a file of its own, so that a test of the engine
 * with a judge of its own does not need the whole of policy.
 */
#include "proxy/session/session.h"

#include "policy/cache.h"
#include "policy/decide.h"

const struct pv_session_judge pv_session_judge_policy = {pv_cache_query, pv_cache_parse, pv_decide_setting};
