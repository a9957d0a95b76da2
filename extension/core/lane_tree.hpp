// lane_tree: the lanes of a queue by their numbers, a digital search tree.
//
// Each node holds a lane, and the bits of its mixed number lead to it.  Mixing is one-to-one, so the tree is never deeper
// than 64, whatever the numbers are, and about log2(n) deep for numbers that nobody has chosen against the seed.
#pragma once

#include <cstdint>

#include "core/pool.hpp"

#include "core/pure.hpp" // keep last

namespace sluice::core {

/// The finalizer of SplitMix64: one-to-one.
constexpr std::uint64_t mix(std::uint64_t bits) noexcept
{
    bits += 0x9e3779b97f4a7c15ULL;
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9ULL;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebULL;
    return bits ^ (bits >> 31);
}

/// `Node` has `number` and `child[2]`, both nowhere when new.
template <typename Node>
class LaneTree {
public:
    LaneTree(Node *nodes, std::uint32_t &root, std::uint64_t seed) noexcept
        : nodes_(nodes), root_(&root), seed_(seed)
    {
    }

    [[nodiscard]] std::uint32_t find(std::int64_t number) const noexcept { return *path_to(number); }

    /// Precondition: its number is not there.
    void insert(std::uint32_t place) noexcept { *path_to(nodes_[place].number) = place; }

    /// Precondition: it is there.
    void remove(std::uint32_t place) noexcept
    {
        std::uint32_t *const path = path_to(nodes_[place].number);

        // Any leaf below may take its place: all of them share the bits that lead here.
        std::uint32_t *leaf = path;
        for (;;) {
            Node &node = nodes_[*leaf];
            if (node.child[0] != nowhere)
                leaf = &node.child[0];
            else if (node.child[1] != nowhere)
                leaf = &node.child[1];
            else
                break;
        }
        const std::uint32_t heir = *leaf;
        *leaf                    = nowhere;
        if (heir == place)
            return;
        nodes_[heir].child[0] = nodes_[place].child[0];
        nodes_[heir].child[1] = nodes_[place].child[1];
        *path                 = heir;
    }

    /// Calls visit(place) for each; it may insert that place into another tree, or free it.
    template <typename Visit>
    void each(Visit visit) const
    {
        std::uint32_t pending[deepest + 1];
        int           count = 0;
        if (*root_ != nowhere)
            pending[count++] = *root_;
        while (count > 0) {
            const std::uint32_t place = pending[--count];
            for (const std::uint32_t child : {nodes_[place].child[0], nodes_[place].child[1]})
                if (child != nowhere)
                    pending[count++] = child;
            visit(place);
        }
    }

private:
    static constexpr int deepest = 65; ///< levels: the root, and one for each bit

    std::uint32_t *path_to(std::int64_t number) const noexcept
    {
        std::uint64_t  bits = mix(static_cast<std::uint64_t>(number) ^ seed_);
        std::uint32_t *path = root_;
        while (*path != nowhere && nodes_[*path].number != number) {
            path = &nodes_[*path].child[bits & 1U];
            bits >>= 1;
        }
        return path;
    }

    Node          *nodes_;
    std::uint32_t *root_;
    std::uint64_t  seed_;
};

} // namespace sluice::core
