//! The tree against the standard library's, with and without copies that share its nodes.

use std::collections::BTreeMap;

use holdfast_engine::Random;

use super::*;

type Model = BTreeMap<Vec<u8>, u64>;

fn key(random: &mut Random, keys: u64) -> Vec<u8> {
    let number = random.below(keys);
    // Some keys are prefixes of others, and some are long, so that nodes are divided for their bytes.
    let length = if number.is_multiple_of(7) { number as usize % 900 } else { 0 };
    let mut key = format!("{:x}", number.wrapping_mul(0x9e37_79b9) % 0xffff).into_bytes();
    key.extend(std::iter::repeat_n(b'x', length));
    key
}

fn check(tree: &Tree<u64>, model: &Model) {
    assert_eq!(tree.len(), model.len());
    let whole = tree.iter().map(|(key, value)| (key.to_vec(), *value));
    assert!(whole.eq(model.iter().map(|(key, value)| (key.clone(), *value))));
    assert_eq!(tree.last(), model.keys().next_back().map(Vec::as_slice));
}

fn grow(seed: u64, steps: u64, keys: u64, copies: u64) {
    let mut random = Random::new(seed);
    let (mut tree, mut model) = (Tree::default(), Model::new());
    let mut kept: Vec<(Tree<u64>, Model)> = Vec::new();
    for step in 0..steps {
        let key = key(&mut random, keys);
        // It grows first and shrinks afterwards, to nothing in the end.
        if random.below(steps) < step {
            assert_eq!(tree.remove(&key), model.remove(&key));
        } else if random.chance(0.3) {
            let (one, other) = (tree.get_mut(&key), model.get_mut(&key));
            assert_eq!(one, other);
            one.into_iter().chain(other).for_each(|value| *value += 1);
        } else {
            let made = |before: Option<&u64>| before.map_or(step, |before| before / 2);
            let before = tree.update(&key, made);
            assert_eq!(before, model.insert(key.clone(), made(before.as_ref())));
        }
        assert_eq!(tree.get(&key), model.get(&key));
        if copies > 0 && random.below(copies) == 0 {
            kept.push((tree.clone(), model.clone()));
            if kept.len() > 3 {
                let (tree, model) = kept.remove(0);
                check(&tree, &model);
            }
        }
        if random.below(200) == 0 {
            check(&tree, &model);
        }
    }
    for key in model.keys().cloned().collect::<Vec<_>>() {
        assert_eq!(tree.remove(&key), model.remove(&key));
    }
    check(&tree, &model);
    kept.iter().for_each(|(tree, model)| check(tree, model));
}

#[test]
fn it_is_an_ordered_map() {
    for seed in 0..4 {
        grow(seed, 6_000, 2_000, 0);
        grow(seed, 1_000, 40, 0);
    }
}

#[test]
fn a_copy_shows_for_ever_what_was_there() {
    for seed in 10..14 {
        grow(seed, 3_000, 1_500, 100);
    }
}

#[test]
fn a_walk_begins_anywhere() {
    let mut random = Random::new(3);
    let (mut tree, mut model) = (Tree::default(), Model::new());
    for step in 0..3_000 {
        let key = key(&mut random, 2_000);
        tree.insert(&key, step);
        model.insert(key, step);
    }
    for _ in 0..500 {
        let start = key(&mut random, 3_000);
        let from: Vec<_> = tree.walk(&start, false).take(70).map(|(key, _)| key.to_vec()).collect();
        let expected: Vec<_> = model.range(start.clone()..).take(70).map(|(key, _)| key.clone()).collect();
        assert_eq!(from, expected);
        let after: Vec<_> = tree.walk(&start, true).take(70).map(|(key, _)| key.to_vec()).collect();
        let present = usize::from(model.contains_key(&start));
        let expected: Vec<_> =
            model.range(start..).skip(present).take(70).map(|(key, _)| key.clone()).collect();
        assert_eq!(after, expected);
    }
}

#[test]
fn a_tree_that_was_built_at_once_is_one_that_grew() {
    let mut random = Random::new(4);
    for keys in [0, 1, 2, 55, 56, 57, 112, 113, 3_136, 3_137, 20_000] {
        let mut model = Model::new();
        while (model.len() as u64) < keys {
            let key = random.draw().to_be_bytes();
            model.insert(key[random.below(4) as usize..].to_vec(), keys);
        }
        let mut builder = Builder::default();
        for (key, value) in &model {
            builder.push(key, *value);
            assert_eq!(builder.last(), Some(&key[..]));
        }
        let mut tree = builder.finish();
        check(&tree, &model);
        for _ in 0..keys.min(2_000) {
            let key = random.draw().to_be_bytes();
            let key = &key[..random.below(8) as usize];
            assert_eq!(tree.insert(key, 1), model.insert(key.to_vec(), 1));
            let other = model.range(key.to_vec()..).nth(3).map(|(key, _)| key.clone());
            assert_eq!(
                other.as_ref().and_then(|key| tree.remove(key)),
                other.and_then(|key| model.remove(&key))
            );
        }
        check(&tree, &model);
    }
}
