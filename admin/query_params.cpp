// The table of query parameters.
#include "admin/query_params.hpp"

#include <array>

namespace kw::admin {
namespace {

using enum param_type;

constexpr query_param page{"page", "which page, from 1", number};
constexpr query_param limit{"limit", "items of a page", number};
constexpr query_param cursor{"cursor", "`next` of the page before"};
constexpr query_param from{"from", "not before this time", time};
constexpr query_param to{"to", "before this time", time};
constexpr query_param access_key{"access_key", "id of an access key"};
constexpr query_param upstream_key{"upstream_key", "id of an upstream key"};
constexpr query_param in_group{"group", "id of a group"};
constexpr query_param pool_group{"poolGroup", "id of a group"};
constexpr query_param model{"model", "a model's name"};
constexpr query_param key_status{"status", "state of the key", word,
                                 "active,cooling,quarantined,banned,disabled"};

constexpr query_param disabled{"disabled", "disabled ones", word, "any,false,true"};
constexpr query_param role{"role", "a role", word, "viewer,operator,owner"};

constexpr query_param search(std::string_view where) {
    return {"q", where};
}
constexpr query_param sort(std::string_view words) {
    return {"sort", "the order; - before it turns it round", word, words};
}

constexpr std::array prices{search("in model or source"),
                            query_param{"source", "where prices are from"},
                            sort("model,input,output,source,as_of"), page, limit};
constexpr std::array keys{key_status,
                          pool_group,
                          search("in id, alias, notes or account"),
                          sort("id,alias,created,status,uses,tokens,last_used"),
                          page,
                          limit};
constexpr std::array exported_keys{key_status};
constexpr std::array tasks{query_param{"state", "of the task", word, "running,done"},
                           search("in the id"), sort("id,started,ended,total,tested,failed"), page,
                           limit};
constexpr std::array groups{query_param{"provider", "a provider's name"}, search("in id or name"),
                            sort("priority,id,name,total,active,in_flight,uses,tokens"), page,
                            limit};
constexpr std::array access_keys{search("in id, name, description, owner or tags"),
                                 disabled,
                                 query_param{"deleted", "deleted ones", word, "false,true,any"},
                                 sort("id,name,created,expires_at"),
                                 page,
                                 limit};
constexpr std::array purge{query_param{"purge", "for good", word, "false,true"}};
constexpr std::array versions{query_param{"key", "a setting that was changed"},
                              search("in who, what was done, or the settings changed"),
                              sort("version,at,by,action"), page, limit};
constexpr std::array leases{access_key,
                            upstream_key,
                            in_group,
                            search("in id, name, alias or the ids of keys"),
                            sort("expires_at,id,since,access_key,upstream_key,group"),
                            page,
                            limit};
constexpr std::array queue{access_key, search("in id or name"),
                           sort("id,name,waiting,entered,success,timeout,refused,rejected"), page,
                           limit};
constexpr std::array admins{
    role, disabled, search("in id, name or email"), sort("id,name,email,role,created"),
    page, limit};
constexpr std::array tokens{role, search("in id or name"), sort("id,name,role,created,expires_at"),
                            page, limit};
constexpr std::array channels{disabled, search("in id, name or type"), sort("id,name,type"), page,
                              limit};
constexpr std::array audit{
    query_param{"actor", "id or name of who did it"},
    query_param{"event", "kind of entry", word, "change,call,export,login,logout,refused"},
    query_param{"action", "a part of method and route"},
    query_param{"subject", "id or kind of record"},
    query_param{"source", "an address"},
    query_param{"request_id", "of the call"},
    search("anywhere in the entry"),
    sort("at,id"),
    from,
    to,
    limit,
    cursor};
constexpr std::array refusals{query_param{"source", "an address"}, search("in source or key"),
                              sort("last,first,count,source,key"), page, limit};
constexpr std::array csv{query_param{"kind", "what to export", word, "upstream_key,access_key"}};
constexpr std::array imported{
    query_param{"format", "of the document, where it does not tell by itself"},
    query_param{"mode", "what becomes of items that exist", word, "skip,overwrite"},
    query_param{"dry_run", "only tells what would be done", word, "false,true"},
    query_param{"group", "of keys that name none"}};
constexpr std::array usage{
    query_param{"by", "whose use", word, "all,access_key,upstream_key,group,provider,model"},
    query_param{"span", "length of a bucket", word, "day,hour,month,all"},
    query_param{"subject", "id or name of one"},
    search("in bucket, subject or its name"),
    sort("bucket,subject,requests,errors,tokens,cost"),
    from,
    to,
    page,
    limit};
constexpr std::array trend{query_param{"span", "length of a bucket", word, "hour,day"},
                           from,
                           to,
                           access_key,
                           upstream_key,
                           in_group,
                           query_param{"provider", "a provider's name"},
                           model};
constexpr std::array token_usage{
    query_param{"period", "of the figures", word, "month,day,all"},
    query_param{"forceRefresh", "changes nothing: figures are always fresh", word, "false,true"},
    pool_group,
    search("in id or alias"),
    sort("tokens,id,alias,group,requests,cost"),
    page,
    limit};
constexpr std::array requests{
    query_param{"request_id", "of the request"},
    access_key,
    upstream_key,
    model,
    query_param{"status", "the answer's", number},
    query_param{"status_from", "the answer's, at least", number},
    query_param{"status_to", "the answer's, at most", number},
    search("in ids, models, group, provider, endpoint, error code or the access key's name"),
    sort("started,id,status,tokens,cost,total_us,first_byte_us,bytes_in,bytes_out"),
    from,
    to,
    query_param{"format", "of the answer", word, "json,csv"},
    limit,
    cursor};
constexpr std::array live_log{
    query_param{"level", "the least important lines", word, "trace,debug,info,warn,error"},
    query_param{"q", "somewhere in the line"}, query_param{"history", "lines from before", number}};

struct entry {
    std::string_view method;
    std::string_view path;
    std::span<const query_param> params;
};
constexpr entry table[] = {
    {"GET", "/admin/prices", prices},
    {"GET", "/admin/keys", keys},
    {"GET", "/admin/keys/export", exported_keys},
    {"GET", "/admin/tasks", tasks},
    {"GET", "/admin/pool-groups", groups},
    {"GET", "/admin/access-keys", access_keys},
    {"DELETE", "/admin/access-keys/{id}", purge},
    {"GET", "/admin/config/versions", versions},
    {"GET", "/admin/notifications", channels},
    {"GET", "/admin/leases", leases},
    {"GET", "/admin/queue", queue},
    {"GET", "/admin/admins", admins},
    {"GET", "/admin/tokens", tokens},
    {"GET", "/admin/audit", audit},
    {"GET", "/admin/refusals", refusals},
    {"GET", "/admin/export/csv", csv},
    {"POST", "/admin/import", imported},
    {"GET", "/admin/usage", usage},
    {"GET", "/admin/stats/trend", trend},
    {"GET", "/admin/token/usage", token_usage},
    {"GET", "/admin/requests", requests},
    {"GET", "/admin/logs/stream", live_log},
};

}  // namespace

std::span<const query_param> query_params(std::string_view method, std::string_view path) noexcept {
    for (const auto& e : table)
        if (e.path == path && e.method == method) return e.params;
    return {};
}

}  // namespace kw::admin
