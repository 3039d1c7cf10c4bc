<?php
foreach (glob(getenv('PORTCULLIS_RIG_FOLDER') . '/sps/*.json') as $file) {
    $sp = json_decode(file_get_contents($file), true, 16, JSON_THROW_ON_ERROR);
    $metadata[$sp['entity_id']] = $sp['metadata'];
}
