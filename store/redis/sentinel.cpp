// Asking Sentinels for the master.
#include "store/redis/connection.hpp"

namespace kw::store::redis {

result<target> find_master(const target& among, deadline until, std::size_t& first) {
    auto last = error(errc::store_unavailable, "no Sentinel is named", error_source::store);
    target sentinel = among.server({});
    sentinel.user = among.sentinel_user;
    sentinel.password = among.sentinel_password;
    sentinel.db.clear();
    for (auto i = first; i < among.seeds.size(); ++i) {
        // Each gets its share of the time that is left; the last leaves as much for the master.
        const auto now = std::chrono::steady_clock::now();
        const auto share = now + (until - now) / static_cast<int>(among.seeds.size() - i + 1);
        sentinel.at = among.seeds[i];
        connection ask;
        if (auto opened = ask.open(sentinel, share); !opened) {
            last = opened.error();
            continue;
        }
        pipeline question;
        question.add({"SENTINEL", "GET-MASTER-ADDR-BY-NAME", among.master_name});
        const auto answers = ask.exchange(question, share);
        if (!answers) {
            last = answers.error();
            last.context = sentinel.at.name() + ": " + last.context;
            continue;
        }
        const auto& told = answers->front();
        if (told.items.size() == 2) {
            auto master = among.server({told.items[0].text, told.items[1].text});
            master.must_be_master = true;
            first = i + 1;
            return master;
        }
        last.context = "the Sentinel " + sentinel.at.name() +
                       (told.is_error()
                            ? " refused us: " + told.text
                            : " knows no master " + among.master_name + ": see store.redis_master");
    }
    return last;
}

}  // namespace kw::store::redis
